"""README, licence and citation say what is in the tree, and no file tells of the machine it was written on."""

import json
import re
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import yaml

import dearlib
from dearlib.bench.summary import speedups

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TABLE = ROOT / "figures" / "mini" / "table2.md"
AVERAGES = ROOT / "figures" / "mini" / "06_averages.md"
ATTRIBUTES = ("color", "shape", "texture", "object", "location")


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


@pytest.mark.parametrize("target", re.findall(r"\]\((?!https?://|#)([^)#]+)", README))
def test_what_the_readme_points_to_exists(target: str) -> None:
    assert (ROOT / target).exists()


def test_the_readme_gives_the_two_commands() -> None:
    assert "make reproduce" in README
    assert "make test" in README


def test_the_readmes_table_is_the_one_that_was_drawn() -> None:
    shown = re.search(r"<!-- table2 -->\n(.*)<!-- /table2 -->", README, re.DOTALL)
    assert shown is not None
    if AVERAGES.exists():
        assert shown[1].strip() == AVERAGES.read_text(encoding="utf-8").strip(), "copy figures/mini/06_averages.md between the markers"
    else:
        assert "|" not in shown[1], "a table that nothing in the tree has drawn"


def test_the_readmes_findings_are_the_ones_that_were_judged() -> None:
    shown = re.search(r"<!-- findings -->\n(.*)<!-- /findings -->", README, re.DOTALL)
    assert shown is not None
    assert shown[1].strip() == (ROOT / "figures" / "mini" / "findings.md").read_text(encoding="utf-8").strip()


def test_what_came_out_is_what_the_files_say() -> None:
    roles, tokens, family = (numbers(f"figures/mini/{name}_numbers.csv") for name in ("02", "11", "06"))
    against = pd.read_csv(ROOT / "figures" / "mini" / "06_against.csv")
    (mmrl,) = against.query("against == 'MMRL' and measure == 'hm' and estimand == 'data sets like these'").itertuples()
    planted = json.loads((ROOT / "dearlib" / "mini" / "assets" / "DeAR-Mini.planted.json").read_text())["planted"]
    rows = pd.read_csv(TABLE.with_suffix(".csv")).query("dataset == 'average'").set_index("method")
    gain = numbers("figures/mini/15_numbers.csv")
    kept = pd.read_csv(ROOT / "figures" / "mini" / "gain.csv").set_index("method")["of_gain"].map("{:.0f} %".format)
    clip, dear, exclusive = ([f"{rows.loc[m, c]:.1f}" for c in ("base", "novel")] for m in ("CLIP", "DeAR", "DeAR exclusive"))
    shown = re.search(r"<!-- here -->\n(.*)<!-- /here -->", README, re.DOTALL)
    assert shown is not None
    said = [
        f"gave {sum(len(planted[a]) for a in ATTRIBUTES)} late heads",
        f"find {roles['attribute_heads']:.0f} of them; for {roles['confirmed']:.0f} of {roles['attribute_heads']:.0f} the ablation agrees",
        f"{roles['rows_own']:.0f} of {roles['rows']:.0f} attributes lose their own",
        f"in {tokens['best_printed']:.0f} of {tokens['attributes']:.0f} cases, by at most {tokens['lead_printed']:.1f} points "
        f"[{tokens['lead_low_printed']:.1f}, {tokens['lead_high_printed']:.1f}]: tokens that are alike would do it in "
        f"{tokens['chance_printed']:.0f}.",
        f"in {tokens['best_exclusive']:.0f} of {tokens['attributes']:.0f}, and in {tokens['twice_exclusive']:.0f} of these at least twice",
        f"Over the {gain['datasets']:.0f} data sets of the ablations DeAR gains {gain['base_gain']:.1f} points",
        f"[{gain['base_low']:.1f}, {gain['base_high']:.1f}] on base classes",
        f"constant per class keeps {kept['class bias']} of that, tokens that see no picture {kept['All-Generalization']}, and a linear map",
        f"token, gains {kept['class linear map']} of it",
        f"{clip[0]} % on base and {clip[1]} % on novel classes, DeAR {dear[0]} and {dear[1]}, with",
        f"routing {exclusive[0]} and {exclusive[1]}. It",
        f"number {family['rank']:.0f} of {family['rows']:.0f} rows",
        f"above it by {-mmrl.difference:.1f} points [{-mmrl.high:.1f}, {-mmrl.low:.1f}].",
    ]
    text = " ".join(shown[1].split())
    assert [s for s in said if s not in text] == []
    assert len(re.findall(r"\d+(?:\.\d+)?", re.sub(r"Eq\. \d+|\]\([^)]*\)", "", text))) == sum(
        len(re.findall(r"\d+(?:\.\d+)?", s)) for s in said
    )


def numbers(path: str) -> dict[str, float]:
    values = pd.read_csv(ROOT / path).set_index("name")["value"]
    return pd.to_numeric(values, errors="coerce").to_dict()


def test_the_readmes_benchmark_is_what_was_measured() -> None:
    shown = re.search(r"<!-- bench (\S+) -->\n(.*)<!-- /bench -->", README, re.DOTALL)
    assert shown is not None
    measured = pd.read_csv(ROOT / "figures" / shown[1] / "bench.csv")
    assert shown[2].strip() == speedups(measured).to_markdown(index=False, disable_numparse=True), "copy what `make bench` ends with"


def test_every_notebook_is_on_the_readmes_map_with_its_measured_time() -> None:
    shown = re.search(r"<!-- alone (\S+) -->\n(.*)<!-- /alone -->", README, re.DOTALL)
    assert shown is not None
    measured = pd.read_csv(ROOT / "figures" / shown[1] / "alone.csv").set_index("notebook")
    assert list(measured.index) == sorted(path.stem for path in (ROOT / "notebooks").glob("*.py"))
    said = re.findall(r"^\| `notebooks/(\w+)\.ipynb` \| .+ \| (\d+) s \|$", shown[2], re.MULTILINE)
    assert said == [(name, f"{seconds:.0f}") for name, seconds in measured["seconds"].items()], "copy alone.csv, which `make alone` writes"
    assert measured["peak_gb"].max() <= 2


def test_every_make_target_that_the_readme_names_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    drawn = re.search(r"^ONE := (.*)$", makefile, re.MULTILINE)  # one table or figure each
    assert drawn is not None
    targets = {*re.findall(r"^(\w+):", makefile, re.MULTILINE), *drawn[1].split()}
    named = set(re.findall(r"(?:`|^)make ([a-z]+\d?)", README, re.MULTILINE))
    assert {"reproduce", "test", "table2", "figure1"} <= named <= targets


def test_citation_names_the_paper() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors", "preferred-citation"} <= set(citation)
    paper = citation["preferred-citation"]
    assert paper["title"].startswith("DeAR:")
    assert [author["family-names"] for author in paper["authors"]] == ["Ma", "Yang", "Wang", "Chen", "Xian", "Teng"]
    assert citation["license"] == "MIT"
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith("MIT License")


def test_no_file_names_a_folder_of_one_machine_or_a_package_index() -> None:
    machine = re.compile(r"(?<![\w.])/(?:(?:work|root|home/\w+|Users/\w+)/|tmp/\w)|--(?:extra-)?index-url|https?://[\w.-]+/simple\b")
    for path in tracked():
        if path.suffix in {".png", ".safetensors", ".pdf", ".npz"} or path == Path(__file__):
            continue
        found = machine.search(path.read_text(encoding="utf-8", errors="ignore"))
        assert found is None, f"{path.relative_to(ROOT)}: {found}"


def test_the_readmes_python_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    monkeypatch.chdir(ROOT)
    exec(block, {"__name__": "readme"})
    assert "attribute_tokens" in capsys.readouterr().out


def test_the_readme_names_the_public_names() -> None:
    assert all(f"`{name}`" in README for name in dearlib.PUBLIC)
