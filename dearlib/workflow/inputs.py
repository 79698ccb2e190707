"""What a profile reads: data sets, CLIP's weights, TextSpan's phrases. `make reproduce` checks it before the first step.

`make fetch` (python -m dearlib.workflow.inputs --profile NAME) downloads the weights and the phrases, with a progress bar; data
sets are found, checked and partly fetched by `make doctor`.
"""

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dearlib.datasets import CATALOGUE, entry
from dearlib.datasets.doctor import examine
from dearlib.errors import InputError
from dearlib.params.reading import load_params, repository
from dearlib.params.schemas import MODELS, OnClip, Run

# A table or figure → the parameter files that name the data sets it takes; whatever is not here takes those of all files.
_ROLES, _SOURCE = "02_head_roles", "05_variants-source"
READ_FOR: dict[str, tuple[str, ...]] = {
    "figure1": (_ROLES,),
    "figure2": (_ROLES, "04_dear_model"),
    "figure3": (_ROLES, _SOURCE),
    "figure4": (_ROLES, "09_few_shot"),
    "table2": (_ROLES, "06_base_to_novel"),
    "table3": (_ROLES, _SOURCE),
    "table4": (_ROLES, _SOURCE, "08_domain_generalization"),
    "audit": (),
}
_NAMING = ("dataset", "source", "datasets", "targets", "shifted", "trained", "sweep_datasets")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m dearlib.workflow.inputs", description="Fetch the weights and phrases that a profile names."
    )
    parser.add_argument("--profile", default="mini", help="folder of params/")
    args = parser.parse_args(argv)
    os.chdir(repository(Path.cwd()))
    try:
        for line in check_models(load_profile(args.profile)):
            print(line)
    except InputError as error:
        print(f"fetch: {error}", file=sys.stderr)
        return 2
    return 0


def load_profile(profile: str) -> dict[str, Run]:
    """The validated parameters of every file of a profile, by the file's stem. Raises `InputError` for the first mistake."""
    folder = Path("params") / profile
    if not folder.is_dir():
        raise InputError(f"--profile: expected a folder of params/, got {profile}")
    files = {path.stem: notebook for notebook in MODELS for path in sorted(folder.glob(f"{notebook}*.yaml"))}  # 05_variants has several
    return {stem: load_params(notebook, folder / f"{stem}.yaml") for stem, notebook in files.items()}


def datasets(params: Mapping[str, Run], only: str | None = None) -> list[str]:
    """The data sets that a table or figure takes, or all tables together, each once."""
    found: dict[str, None] = {}
    for stem in READ_FOR.get(only or "", tuple(params)):
        values: Mapping[str, Any] = params[stem].model_dump()
        for key in _NAMING:
            named = values.get(key) or ()
            found |= dict.fromkeys([named] if isinstance(named, str) else named)
    return list(found)


def check_data(params: Mapping[str, Run], only: str | None = None, data: Path | None = None) -> None:
    """Raises `InputError` unless every data set that is needed lies whole under the data root.

    `data` takes the place of the files' `data_root`. Data sets of the Attribute World that are not there yet are made by the
    first step, if they are to lie where it makes them.
    """
    root = data or params[_ROLES].model_dump()["data_root"]
    public = [name for name in datasets(params, only) if entry(name).sizes or name not in CATALOGUE]  # and the user's own
    made = [name for name in datasets(params, only) if name not in public]
    if (public or data) and not root.is_dir():
        raise InputError(f"DATA: expected a folder that holds data sets, got '{root}'; correct the path, or see `make doctor`")
    states = {name: examine(root, name).state for name in public}
    if data:
        states |= {name: "missing" for name in made if not (root / entry(name).folder / entry(name).split_file).is_file()}
    bad = [f"{name} {state}" for name, state in states.items() if state != "found"]
    if bad:
        raise InputError(
            f"DATA: expected {len(states)} data sets whole under '{root}', got {len(bad)} not so: {', '.join(bad)}; "
            f"see `make doctor DATA={root}`"
        )


def check_models(params: Mapping[str, Run]) -> list[str]:
    """Fetches weights and phrases that are not on this machine, if it may, and says a line on each.

    Raises `InputError` in one line for what is not there and cannot be had.
    """
    from dearlib.clip.loading import MINI  # here, because torch takes seconds to import
    from dearlib.clip.weights import pretrained_file
    from dearlib.roles.phrases import PUBLISHED, published_pool

    said = []
    for clip, weights in dict.fromkeys((p.clip, p.clip_weights) for p in params.values() if isinstance(p, OnClip)):
        if weights is not None and not weights.is_file():
            raise InputError(f"clip: expected a weights file at {weights}, got none there; check clip_weights")
        if weights is None and clip != MINI:
            said.append(f"weights of {clip}: {pretrained_file(clip)}")
    if params[_ROLES].model_dump()["pool"] == PUBLISHED:
        said.append(f"phrases: {published_pool()}")
    return said or ["nothing to fetch: weights and phrases are part of this package or of your files"]


if __name__ == "__main__":
    sys.exit(main())
