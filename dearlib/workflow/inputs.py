"""What a profile reads: data sets, CLIP's weights, TextSpan's phrases. `make reproduce` checks it before the first step.

`make fetch` downloads the weights and the phrases, with a progress bar; data sets are found, checked and partly fetched by
`make doctor`.
"""

from dataclasses import dataclass
from pathlib import Path

from dearlib.datasets.catalogue import CATALOGUE, entry
from dearlib.datasets.doctor import examine
from dearlib.errors import InputError
from dearlib.params.methods import MethodRun, method_files
from dearlib.params.reading import load_params, profile_layers
from dearlib.params.schemas import MODELS, HeadRolesParams
from dearlib.params.study import run_settings
from dearlib.params.types import OnClip, Run
from dearlib.study.plan import MADE_OF, SOURCE, Plan, read_plan

ROLES = "02_head_roles"
ONLY_MINI = ("00_pretrain_mini", "13_performance", "14_cost")  # another profile need not have them


@dataclass(frozen=True)
class Profile:
    """A profile as it is run: the parameters of every notebook, and the plan of the study."""

    params: dict[str, Run]
    plan: Plan

    @property
    def roles(self) -> HeadRolesParams:
        """Notebook 02's: its data set is read by every table, for the roles come from it."""
        told = self.params[ROLES]
        assert isinstance(told, HeadRolesParams)
        return told

    def datasets(self, only: str | None = None) -> list[str]:
        """The data sets that a table or figure takes, or all of them together, each once."""
        if only is not None and only not in MADE_OF:
            raise InputError(f"--only: expected one of {', '.join(MADE_OF)}, got {only}; correct the name")
        made = [MADE_OF[only]] if only else list(MADE_OF.values())
        if only == "audit":  # the reported tables are part of the package
            return []
        groups = {name: None for one in made for name in one.groups if name in (*self.plan.study.groups, "retrieval")}
        return list(dict.fromkeys([self.roles.dataset, *self.plan.datasets(*groups)]))


def opened(plan: Plan, home: str, notebook: str) -> tuple[str, ...]:
    """The data sets whose pictures a notebook opens; `home` is the one that the roles come from.

    A study of fewer tables has no source, and nothing is opened for the tables that it does not have.
    """
    if notebook in ("01_vit_internals", ROLES, "04_dear_model"):
        return (home,)
    if SOURCE not in plan.study.groups or notebook not in ("08_domain_generalization", "11_attribute_retrieval"):
        return ()
    return (plan.source, *plan.shifted) if notebook == "08_domain_generalization" else (plan.source,)


def load_profile(profile: str) -> Profile:
    """A profile's parameters and plan, all checked. Raises `InputError` for the first mistake."""
    folder = Path("params") / profile
    if not profile_layers(folder):
        raise InputError(f"--profile: expected a folder of params/ with a profile.yaml, got {profile}")
    files = {n: folder / f"{n}.yaml" for n in MODELS if n not in ONLY_MINI or (folder / f"{n}.yaml").is_file()}
    params = {notebook: load_params(notebook, path) for notebook, path in files.items()}
    return Profile(params, read_plan(profile, params[ROLES].figures_root))


def check_data(profile: Profile, only: str | None = None, data: Path | None = None) -> None:
    """Raises `InputError` unless every data set that is needed lies whole under the data root.

    `data` takes the place of the profile's `data_root`. Data sets of the Attribute World that are not there yet are made by the
    first step, if they are to lie where it makes them.
    """
    root, wanted = data or profile.roles.data_root, profile.datasets(only)
    public = [name for name in wanted if entry(name).sizes or name not in CATALOGUE]  # and the user's own
    made = [name for name in wanted if name not in public]
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


def check_methods(profile: Profile) -> None:
    """Raises `InputError` for a run of another method that cannot be made, before the first step."""
    from dearlib.study.others import check  # here, because the methods take seconds to import

    folder = Path("params") / profile.roles.profile
    for name, group in profile.plan.study.groups.items():
        for run in group.runs:
            settings = run_settings(folder, group, run, group.datasets[0], f"study: {name}")
            if isinstance(settings, MethodRun):
                check(settings, group.classes == "halves", group.targets, f"study: {name}: runs.{run}")


def check_models(profile: Profile) -> list[str]:
    """Fetches weights and phrases that are not on this machine, if it may, and says a line on each.

    Raises `InputError` in one line for what is not there and cannot be had.
    """
    from dearlib.clip.loading import MINI  # here, because torch takes seconds to import
    from dearlib.clip.weights import pretrained_file
    from dearlib.roles.phrases import PUBLISHED, published_pool

    said = []
    for clip, weights in dict.fromkeys((p.clip, p.clip_weights) for p in profile.params.values() if isinstance(p, OnClip)):
        if weights is not None and not weights.is_file():
            raise InputError(f"clip: expected a weights file at {weights}, got none there; check clip_weights")
        if weights is None and clip != MINI:
            said.append(f"weights of {clip}: {pretrained_file(clip)}")
    if profile.roles.pool == PUBLISHED:
        said.append(f"phrases: {published_pool()}")
    files = method_files(Path("params") / profile.roles.profile)
    teachers = {told.teacher.clip for told in files.values() if told.teacher and told.teacher.clip}
    said += [f"weights of {clip}, a teacher: {pretrained_file(clip)}" for clip in sorted(teachers) if clip != MINI]
    return said or ["nothing to fetch: weights and phrases are part of this package or of your files"]
