"""What speaks for a role, side by side: entropy, chance, thresholds, ablation; the clearest heads (Table 1); agreement of two maps."""

from collections.abc import Mapping, Sequence

import pandas as pd
from sklearn.metrics import cohen_kappa_score

from dearlib.errors import InputError
from dearlib.roles.controls import against_recorded_chance, rethresholded
from dearlib.roles.rolefile import HeadRole, HeadRoles


def evidence(roles: HeadRoles, low: float, high: float, confirmed: pd.DataFrame | None = None) -> pd.DataFrame:
    """A row per head, lowest entropy first: what it keeps to, what chance gives, its role by either rule, and whether ablation confirms it.

    `null_5` and `null_50` are the null's 5 % quantile and median for as many phrases (bits). `confirmed` (of `truth.confirmation`)
    says yes or no for attribute heads that were ablated; a head that was not has neither.
    """
    known = roles.settings["null_quantiles"]
    chance, cut = against_recorded_chance(roles), rethresholded(roles, low, high)
    said = {} if confirmed is None else {(r.layer, r.head): r.confirmed for r in confirmed.itertuples()}
    rows = []
    for e, by_null, by_cut in zip(roles.entries, chance.entries, cut.entries, strict=True):
        below, middle = known[str(len(e.phrases))]
        rows.append({"layer": e.layer, "head": e.head, "concept": e.concept, "share": max(e.distribution.values()),
                     "phrases": len(e.phrases), "entropy": e.entropy, "null_5": below, "null_50": middle,
                     "below_null": e.entropy < below - 1e-9,
                     "role_null": by_null.role, "role_thresholds": by_cut.role, "confirmed": said.get((e.layer, e.head))})  # fmt: skip
    return pd.DataFrame(rows).sort_values(["entropy", "layer", "head"], ignore_index=True)


def agreement(one: Sequence[str], other: Sequence[str]) -> dict[str, float]:
    """Of two labellings of the same heads: the share that agrees, the share that the marginals alone give, and Cohen's kappa.

    `kappa` is 0 for no more agreement than the marginals give and 1 for all; NaN where both labellings have one label only.
    """
    if len(one) != len(other) or not one:
        raise InputError(f"maps: expected two labellings of the same heads, got {len(one)} and {len(other)} labels")
    n, labels = len(one), sorted({*one, *other})
    expected = sum(list(one).count(x) * list(other).count(x) for x in labels) / n**2
    kappa = float(cohen_kappa_score(one, other, labels=labels)) if len(labels) > 1 else float("nan")
    return {"agree": sum(a == b for a, b in zip(one, other, strict=True)) / n, "expected": expected, "kappa": kappa}


def clearest(roles: HeadRoles) -> dict[str, HeadRole | None]:
    """Every attribute's clearest head, as in the paper's Table 1: the attribute head of lowest entropy; None where there is none.

    Of equal ones the head with more phrases of its concept, then the first by layer and head [ours].
    """
    found: dict[str, HeadRole | None] = {}
    for attribute in roles.attributes:
        own = [e for e in roles.entries if e.role == "attribute" and e.concept == attribute]
        best = sorted(own, key=lambda e: (round(e.entropy, 9), -max(e.distribution.values()) * len(e.phrases)))
        found[attribute] = best[0] if best else None
    return found


def table1(roles: HeadRoles, phrases: int = 6) -> pd.DataFrame:
    """The paper's Table 1 for these roles: attribute, head, entropy, rank, phrase; a row per phrase, one where there is no head."""
    rows = []
    for attribute, e in clearest(roles).items():
        if e is None:
            rows.append({"attribute": attribute, "head": "no head", "entropy": float("nan"), "rank": 0, "phrase": ""})
        else:
            rows += [{"attribute": attribute, "head": f"L{e.layer} H{e.head}", "entropy": e.entropy, "rank": i, "phrase": phrase}
                     for i, phrase in enumerate(e.phrases[:phrases], start=1)]  # fmt: skip
    return pd.DataFrame(rows)


def shown_side_by_side(table: pd.DataFrame) -> pd.DataFrame:
    """`table1` as people read it: a column per attribute, a row per phrase, best first."""
    columns = {}
    for attribute, own in table.groupby("attribute", sort=False):
        phrases = [p for p in own["phrase"] if p]
        columns[f"{attribute} ({own['head'].iloc[0]})"] = phrases
    longest = max(map(len, columns.values()))
    return pd.DataFrame({name: [*phrases, *[""] * (longest - len(phrases))] for name, phrases in columns.items()})


def reported_matches(roles: HeadRoles, reported: pd.DataFrame, pool: Sequence[str]) -> pd.DataFrame:
    """How many of the phrases reported for a head this model's head of the same place has, and which head has most of them.

    `reported`: attribute, layer, head, phrase (`dearlib.paper.reported.reported_heads`). `in_pool`: how many of them the pool holds
    at all. A model that is not the authors' has other heads: this tells which weights they used.
    """
    rows = []
    known = set(pool)
    heads = {(e.layer, e.head): set(e.phrases) for e in roles.entries}
    for (attribute, layer, head), own in reported.groupby(["attribute", "layer", "head"], sort=False):
        said = set(own["phrase"])
        shared = {at: len(said & phrases) for at, phrases in heads.items()}
        best = max(shared, key=shared.__getitem__)
        rows.append({"attribute": attribute, "head": f"L{layer} H{head}", "reported": len(said), "in_pool": len(said & known),
                     "here": shared.get((layer, head), 0), "most": shared[best],
                     "at": f"L{best[0]} H{best[1]}"})  # fmt: skip
    return pd.DataFrame(rows)


def planted_labels(roles: HeadRoles, planted: Mapping[str, Sequence[tuple[int, int]]]) -> tuple[list[str], list[str]]:
    """For every head the attribute it was planted for and the one it was found to have, '-' for none (or for no core attribute).

    Raises `InputError` for a planted head that `roles` does not have.
    """
    given = {head: attribute for attribute, heads in planted.items() for head in heads}
    if missing := set(given) - {(e.layer, e.head) for e in roles.entries}:
        layer, head = min(missing)
        raise InputError(f"planted heads: expected heads of the role file, got L{layer} H{head}; restore the file beside the weights")
    found = [e.concept if e.role == "attribute" else "-" for e in roles.entries]
    core = {head: attribute for head, attribute in given.items() if attribute in roles.attributes}
    return [core.get((e.layer, e.head), "-") for e in roles.entries], found


def against_planted(roles: HeadRoles, planted: Mapping[str, Sequence[tuple[int, int]]]) -> pd.DataFrame:
    """The confusion table: rows what heads were planted for ('-': nothing), columns the attribute that was found ('-': none), counts."""
    given, found = planted_labels(roles, planted)
    order = [*roles.attributes, "-"]
    table = pd.crosstab(pd.Series(given, name="planted"), pd.Series(found, name="found"))
    return table.reindex(index=order, columns=order, fill_value=0)
