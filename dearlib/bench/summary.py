"""The benchmark in a few lines, for the README: what is faster than the plain way, by how much, at which share of the ceiling."""

import pandas as pd


def speedups(measured: pd.DataFrame) -> pd.DataFrame:
    """A row per comparison of a `bench.csv`: seconds of both ways, their ratio, and the fast one's share of the ceiling and peak memory."""
    rows = []
    steps = measured[measured["part"] == "training step"]
    for (batch, classes), own in steps.groupby(["batch", "classes"]):
        rows.append(_row(f"training step, batch {batch}, {classes} classes", own.set_index("way"), "straightforward", "fast"))
    run = measured[measured["part"] == "whole run"].set_index("way")
    if len(run):
        what = f"16-shot run of {int(run['classes'].iloc[0])} classes, 10 epochs"
        rows.append(_row(f"{what}, prefix included", run, "straightforward", "fast, prefix included"))
        rows.append(_row(f"{what}, on a kept prefix", run, "straightforward", "fast, on a kept prefix"))
    encoding = measured[measured["part"] == "image encoding"].set_index("way")
    for way in ("head contributions", "DeAR image features"):
        rows.append(_row(f"{way}, beside plain encoding", encoding, "plain encode_image", way))
    return pd.DataFrame(rows).fillna("")


def _row(name: str, own: pd.DataFrame, plain: str, fast: str) -> dict[str, object]:
    share, peak = own.loc[fast, "share_of_ceiling"], own.loc[fast, "peak_gb"]
    return {
        "": name,
        "plain, s": f"{own.loc[plain, 'seconds']:.2f}",
        "here, s": f"{own.loc[fast, 'seconds']:.2f}",
        "times faster": f"{own.loc[plain, 'seconds'] / own.loc[fast, 'seconds']:.1f}",
        "of the ceiling": "" if pd.isna(share) else f"{share:.0%}",
        "peak, GB": "" if pd.isna(peak) else f"{peak:.2f}",
    }
