"""What the paper reports: the heads of its Table 1, the numbers of its Tables 2–6, the claims of its prose. `SOURCES.json` says from where.

Nothing here was measured by this package, so wherever one of these numbers is shown, the word *reported* stands by it.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from dearlib.errors import InputError

FOLDER = Path(__file__).parent
TABLES = (2, 3, 4, 5, 6)
CELL = ["table", "dataset", "role", "method", "metric"]
CLAIM = ["id", "section", "claim", "kind", "table", "dataset", "metric", "method", "minus", "without", "printed"]
ROLES = {"average", "source", "target"}
METRICS = {"base", "novel", "hm", "accuracy"}
NAMES = {  # data sets here → as the paper calls them
    "imagenet": "ImageNet",
    "caltech101": "Caltech101",
    "oxford_pets": "OxfordPets",
    "stanford_cars": "StanfordCars",
    "oxford_flowers": "Flowers102",
    "food101": "Food101",
    "fgvc_aircraft": "FGVCAircraft",
    "sun397": "SUN397",
    "dtd": "DTD",
    "eurosat": "EuroSAT",
    "ucf101": "UCF101",
    "imagenetv2": "ImageNet-V2",
    "imagenet_sketch": "ImageNet-Sketch",
    "imagenet_a": "ImageNet-A",
    "imagenet_r": "ImageNet-R",
}


def reported(table: int, folder: Path = FOLDER) -> pd.DataFrame:
    """One table in tidy form, a row per printed number: table, dataset, role, method, metric, value (percent).

    `role` is 'average' (dataset 'average'), 'source' (what a model was trained on, in Tables 3 and 4) or 'target'. What
    the paper prints in bold cannot be read from the text that was transcribed, so who is best is recomputed.

    Raises:
        InputError: the file is missing, a column or a number is not what it should be, or a cell is there twice.
    """
    path = folder / f"table{table}.csv"
    cells = _read(path, [*CELL, "value"])
    cells["value"] = _numbers(cells["value"], path)
    cells["table"] = _numbers(cells["table"], path).astype(int)
    strange = [c for c, allowed in (("table", {table}), ("role", ROLES), ("metric", METRICS)) if not set(cells[c]) <= allowed]
    if strange:
        raise InputError(f"{path}: expected known values in every column, got others in {', '.join(strange)}; restore the file")
    if not cells["value"].between(0, 100).all():
        raise InputError(f"{path}: expected percentages, got values outside 0–100; restore the file")
    if (twice := cells.duplicated(CELL)).any():
        raise InputError(f"{path}: expected every cell once, got {tuple(cells[twice][CELL[1:]].iloc[0])} twice; remove one")
    return cells


def all_reported(folder: Path = FOLDER) -> pd.DataFrame:
    """Tables 2–6 below one another."""
    return pd.concat([reported(t, folder) for t in TABLES], ignore_index=True)


def beside(table: int, shown: pd.DataFrame, datasets: Sequence[str]) -> pd.DataFrame:
    """`shown`, a table of ours as people read it, with the rows that the paper reports for the same data sets below, marked.

    Its columns say what is looked up: 'Base', 'Novel', 'HM' or the names of data sets, by 'Method' and, where there is
    one, 'Data set'. The paper's averages stand beside ours only if `datasets` are all that it averages over and no others; data
    sets that the paper does not have get no row.
    """
    cells = reported(table)
    over = cells if table in (2, 3, 4) else reported(2)
    here = {NAMES[name]: name for name in datasets if name in NAMES}
    if len(here) == len(datasets) and set(over[over["role"] == "target"]["dataset"]) <= set(here):
        here["average"] = "average"
    cells = cells[cells["dataset"].isin(list(here))].assign(dataset=lambda c: c["dataset"].map(here))
    if cells.empty:
        return shown
    index, column = (["dataset", "method"], "metric") if table == 2 else (["method"], "dataset" if table in (3, 4) else "metric")
    titles = {"base": "Base", "novel": "Novel", "hm": "HM", "dataset": "Data set", "method": "Method"}
    order = pd.MultiIndex.from_frame(
        cells[index].drop_duplicates().sort_values("method", key=lambda m: m.map(list(m.unique()).index), kind="stable")
    )
    wide = (
        cells.pivot(index=index, columns=column, values="value")
        .map("{:.2f}".format)
        .reindex(order if table == 2 else order.get_level_values(0))
    )
    rows = wide.reset_index().rename(columns=titles).assign(Method=lambda r: r["Method"] + ", *reported*")
    return pd.concat([shown.astype(str), rows.reindex(columns=shown.columns)], ignore_index=True).fillna("")


def reported_claims(folder: Path = FOLDER) -> pd.DataFrame:
    """Claims of the prose that the tables decide, a row each; `audit.claims` says how `kind` and the columns after it are read."""
    path = folder / "claims.csv"
    claims = _read(path, CLAIM)
    claims["printed"] = _numbers(claims["printed"], path)
    if claims["id"].duplicated().any():
        raise InputError(f"{path}: expected every id once, got {claims['id'][claims['id'].duplicated()].iloc[0]} twice; rename one")
    return claims


def reported_heads(folder: Path = FOLDER) -> pd.DataFrame:
    """Table 1, a row per phrase: table, attribute, layer (from 1), head (from 0), rank in the order printed, phrase.

    Raises `InputError` if the file is not what it should be, or two rows of one head have one rank or one phrase.
    """
    path = folder / "table1.csv"
    heads = _read(path, ["table", "attribute", "layer", "head", "rank", "phrase"])
    for column in ("table", "layer", "head", "rank"):
        heads[column] = _numbers(heads[column], path).astype(int)
    for column in ("rank", "phrase"):
        if (twice := heads.duplicated(["layer", "head", column])).any():
            raise InputError(f"{path}: expected every {column} of a head once, got {heads.loc[twice, column].iloc[0]!r} twice; remove one")
    return heads


def _read(path: Path, columns: list[str]) -> pd.DataFrame:
    """A CSV file as text, empty cells as ''."""
    try:
        read = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (FileNotFoundError, pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected a CSV file, got {type(error).__name__}; restore the file") from None
    if list(read.columns) != columns:
        raise InputError(f"{path}: expected columns {', '.join(columns)}, got {', '.join(read.columns)}; restore the file")
    return read


def _numbers(texts: pd.Series, path: Path) -> pd.Series:
    values = pd.to_numeric(texts, errors="coerce").astype(float)
    if values.isna().any():
        raise InputError(f"{path}: expected a number in {texts.name}, got {texts[values.isna()].iloc[0]!r}; restore the file")
    return values
