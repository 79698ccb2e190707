"""Tables: accuracies with spread, the best in bold, as CSV, Markdown and LaTeX with a note of where they come from."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from dearlib.checkpoint import write_text
from dearlib.errors import InputError
from dearlib.results import RunRecord

AVERAGE = "average"
_LATEX = {"_": r"\_", "%": r"\%", "&": r"\&", "±": r"$\pm$", "−": "$-$", "λ": r"$\lambda$", "β": r"$\beta$", "α": r"$\alpha$"}


def accuracies(metrics: pd.DataFrame, datasets: Sequence[str], methods: Sequence[str], trained_on: str | None = None) -> pd.DataFrame:
    """Accuracy on all classes of each data set and on average: columns dataset, method, n, accuracy, accuracy_sd (percent).

    From test pictures. The average takes, per seed, the mean over the data sets. sd is the sample standard deviation
    (ddof = 1) over seeds, empty for a method without seeds.

    Raises:
        InputError: a method has no number on one of the data sets, or other seeds there.
    """
    rows = []
    for method in methods:
        ours = metrics[(metrics["method"] == method) & (metrics["part"] == "test") & (metrics["split"] == "all")]
        here = ours["trained_on"].isna() if trained_on is None else ours["trained_on"] == trained_on
        ours = ours[here | ours["seed"].isna()].drop_duplicates(["dataset", "seed"])
        seeded = bool(ours["seed"].notna().any())
        wide = ours.assign(seed=ours["seed"].fillna(0)).pivot(index="seed", columns="dataset", values="accuracy")
        missing = sorted(set(datasets) - set(wide.columns))
        if missing:
            raise InputError(f"table: expected {method} on every data set, got none on {', '.join(missing)}; run it first")
        wide = wide[list(datasets)]
        if wide.isna().any(axis=None):
            raise InputError(f"table: expected the same seeds of {method} on every data set, got others; rerun with one list of seeds")
        for name, values in {**{d: wide[d] for d in datasets}, AVERAGE: wide.mean(axis=1)}.items():
            sd = values.std(ddof=1) if seeded else float("nan")
            rows.append({"dataset": name, "method": method, "n": len(values), "accuracy": values.mean(), "accuracy_sd": sd})
    return pd.DataFrame(rows)


def spread(mean: float, sd: float, best: bool = False) -> str:
    """'mean ± sd' to two decimals, without a spread where there is none; bold if it is the best."""
    text = f"{mean:.2f}" if pd.isna(sd) else f"{mean:.2f} ± {sd:.2f}"
    return f"**{text}**" if best else text


def methods_by_datasets(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The long table as people read it: a row per method, a column per data set, the best of each column in bold."""
    best = table.groupby("dataset")["accuracy"].transform("max").eq(table["accuracy"]) & (table["method"].nunique() > 1)
    text = table.assign(text=[spread(a, s, b) for a, s, b in zip(table["accuracy"], table["accuracy_sd"], best, strict=True)])
    wide = text.pivot(index="method", columns="dataset", values="text").loc[list(table["method"].unique()), list(columns)]
    wide.insert(0, "n", table.groupby("method")["n"].first())
    return wide.rename_axis(columns=None).reset_index().rename(columns={"method": "Method"})


def write(numbers: pd.DataFrame, shown: pd.DataFrame, stem: Path, sidecar: dict[str, Any]) -> None:
    """`numbers` as CSV, `shown` (text, bold as **…**) as Markdown and LaTeX (booktabs), and where they come from as JSON."""
    write_text(stem.with_suffix(".csv"), numbers.to_csv(index=False, float_format="%.4f"))
    write_text(stem.with_suffix(".md"), shown.to_markdown(index=False, disable_numparse=True) + "\n")
    write_text(stem.with_suffix(".tex"), latex(shown))
    write_sidecar(stem, sidecar)


def write_sidecar(stem: Path, content: dict[str, Any]) -> None:
    """`stem`.json: what a table or figure was made from."""
    write_text(stem.with_suffix(".json"), json.dumps(content, indent=1, sort_keys=True) + "\n")


def latex(shown: pd.DataFrame) -> str:
    """A booktabs table; in text, Markdown's bold, ± and signs become LaTeX's."""

    def escaped(text: str) -> str:
        for plain, tex in _LATEX.items():
            text = text.replace(plain, tex)
        return re.sub(r"\*\*(.*?)\*\*", r"\\textbf{\1}", text)

    return shown.map(lambda v: escaped(str(v))).rename(columns=escaped).to_latex(index=False, escape=False)


def made_from(notebook: str, parameters: dict[str, Any], records: Sequence[RunRecord], commit: str) -> dict[str, Any]:
    """A sidecar's content: notebook, parameters, and of each record its parameters' hash and what it stood on."""
    first = records[0]
    return {
        "notebook": notebook,
        "parameters": parameters,
        "commit": commit,
        "weights_sha256": first.weights_sha256,
        "roles_sha256": first.roles_sha256,
        "records": [
            {
                "notebook": r.notebook,
                "dataset": r.parameters.get("dataset"),
                "group": r.parameters.get("group"),
                "parameters_sha256": r.parameters_sha256,
                "split_sha256": r.split_sha256,
                "commit": r.commit,
            }
            for r in records
        ],
    }
