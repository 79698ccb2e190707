"""Every committed table and figure with what it was made from: read from the JSON file beside it, never typed in."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dearlib.errors import InputError
from dearlib.params.study import read_study, run_settings
from dearlib.study.plan import Plan

TITLES = {"audit": "The audit of the paper's tables", "claims": "The claims"}


def artefacts(root: Path, profile: str = "mini") -> str:
    """Markdown: a section for each table and figure of `figures/<profile>`, and one line for those that were not drawn."""
    folder = root / "figures" / profile
    sidecars = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}
    made = {name: content for name, content in sidecars.items() if isinstance(content, dict) and "notebook" in content}
    if not made:
        raise InputError(f"{folder}: expected tables and figures with their .json files, got none; run make reproduce")
    return "\n".join(_section(root, profile, name, content) for name, content in made.items())


def _section(root: Path, profile: str, name: str, content: Mapping[str, Any]) -> str:
    folder = Path("figures") / profile
    rows = [
        ("command", f"`{command(root, name)}`"),
        ("drawn by", f"[{content['notebook']}](/notebooks/{content['notebook']}.ipynb)"),
        ("parameters", f"`{_parameters(root, profile, content['notebook'])}`, hash `{content['parameters_sha256']}`"),
        *(("commit of the runs", f"`{one[:12]}`") for one in sorted({r["commit"] for r in _of_runs(content)})),
        *_records(root, profile, content.get("records") or []),
        *((key, f"`{content[f'{key}_sha256'][:12]}`") for key in ("weights", "roles") if content.get(f"{key}_sha256")),
    ]
    title = TITLES.get(name) or re.sub(r"([a-z])([0-9])", r"\1 \2", name).capitalize()
    lines = [f"### {title}", ""]
    if "generated" in content:
        lines += [f"**Generated input, no result: {content['generated']}**", ""]
    if (root / folder / f"{name}.png").is_file():
        lines += [f"![{name}, as drawn by {content['notebook']}](/{folder}/{name}.png)", ""]
    if (root / folder / f"{name}.md").is_file():
        lines += [(root / folder / f"{name}.md").read_text(encoding="utf-8").strip(), ""]
    lines += ["| made from | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows), ""]
    return "\n".join(lines)


def _of_runs(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The records that a sidecar names, as far as they are of runs."""
    return [record for record in content.get("records") or [] if "commit" in record]


def _parameters(root: Path, profile: str, notebook: str) -> str:
    """A notebook's own file, or the profile's where that says all."""
    own = f"params/{profile}/{notebook}.yaml"
    return own if (root / own).is_file() else f"params/{profile}/profile.yaml"


def command(root: Path, name: str) -> str:
    """The shortest command that makes one table or figure: a target of its own where the Makefile has one."""
    one = re.search(r"^ONE := (.*)$", (root / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    return f"make {name}" if one and name in one[1].split() else "make reproduce"


def _records(root: Path, profile: str, records: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """The runs behind a table: of which groups of the study, on which data sets, with which seeds."""
    groups: dict[str, list[str]] = {}
    for record in records:
        if "group" in record:
            groups.setdefault(record["group"], []).append(record["dataset"])
    folder = f"figures/{profile}/records"
    return [("records", f"`{folder}/{name}-….json` of {', '.join(sorted(own))}; seeds {seeds_of(root, profile, name)}")
            for name, own in groups.items()]  # fmt: skip


def seeds_of(root: Path, profile: str, group: str) -> str:
    """The seeds of a group of runs as the study has them."""
    folder = root / "params" / profile
    asked = Plan(read_study(folder), Path()).group(group)
    return ", ".join(map(str, run_settings(folder, asked, next(iter(asked.runs)), asked.datasets[0]).seeds))
