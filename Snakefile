# Parameter file → notebook (papermill) → runs/<profile>/ → figures/<profile>/. `make reproduce` runs it.
#
# Each notebook is one call of dearlib.workflow.runner, and runs again when the notebook, its parameter file, its inputs, the
# weights or a module that it imports has changed. A step computes with one thread, however many run at once, so
# results do not depend on the number of cores. Executed notebooks are logs: a failed one stays for reading.

import json
import shlex
from pathlib import Path

from dearlib.datasets import SHIFTED_MINI, SOURCE_MINI, TARGETS_MINI, entry
from dearlib.workflow.resources import gpus, load_resources, workers
from dearlib.workflow.sources import sources
from dearlib.params.yaml12 import read_yaml

PROFILE = config.get("profile", "mini")
PARAMS = f"params/{PROFILE}"
ROOT = Path(workflow.basedir)
GIVEN = str(config["data"]) if "data" in config else None  # a data root in place of the parameter files'
DATA = GIVEN or read_yaml(ROOT / PARAMS / "05_training.yaml")["data_root"]
TABLE = read_yaml(ROOT / PARAMS / "06_base_to_novel.yaml")
TRANSFER = read_yaml(ROOT / PARAMS / "07_cross_dataset.yaml")
SHIFTS = read_yaml(ROOT / PARAMS / "08_domain_generalization.yaml")
SHOTS = read_yaml(ROOT / PARAMS / "09_few_shot.yaml")
ABLATIONS = read_yaml(ROOT / PARAMS / "10_ablations.yaml")
RUNS, FIGURES = TABLE["runs_root"], TABLE["figures_root"]
ROLES = f"{RUNS}/02_head_roles/roles.json"
# A group of runs of 05_variants → its parameter file.
PLANS = {"ablations": "05_variants", "sweeps": "05_variants-sweeps", "few_shot": "05_variants-few_shot", "source": "05_variants-source"}
PLANNED = {plan: read_yaml(ROOT / PARAMS / f"{plan}.yaml") for plan in PLANS.values()}
# Role files that variants ask for beside the one that was found; 02 makes them as well.
ASKED = sorted({v["roles"] for plan in PLANNED.values() for v in plan["variants"].values() if "roles" in v})
SOURCE = f"{RUNS}/source-{TRANSFER['source']}/record.json"
NEEDS = load_resources(ROOT / PARAMS / "resources.yaml")
RUN = "OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 python -m dearlib.workflow.runner {input.notebook} {input.params}"
# The same for notebooks that read the data sets themselves.
READ = RUN + (" -p " + shlex.quote(f"data_root={json.dumps(GIVEN)}") if GIVEN else "")


def modules(start):
    return [str(m.relative_to(ROOT)) for m in sources(ROOT / start)]


def step(name):
    """Inputs that every step has; call as `**step(name)`."""
    return {
        "notebook": f"notebooks/{name}.py",
        "params": f"{PARAMS}/{name}.yaml",
        "modules": modules(f"notebooks/{name}.py"),
        "own_data_sets": [str(f.relative_to(ROOT)) for f in ROOT.glob("params/data_sets.yaml")],
        "weights": sorted(str(f.relative_to(ROOT)) for f in (ROOT / "dearlib/mini/assets").iterdir()),
    }


def needs(rule, params=None):
    """What SLURM is asked for: memory, minutes, and the GPUs of a parameter file; call as `**needs(…)`."""
    wanted = NEEDS.get(rule, NEEDS["default"])
    return {"mem_mb": wanted.memory_mb, "runtime": wanted.minutes, "gpu": gpus(ROOT / PARAMS / f"{params}.yaml") if params else 0}


def split(dataset):
    """What says which pictures a data set has: its split file, its first list, or the folder of its class folders."""
    where = entry(dataset)
    return f"{DATA}/{where.folder}/{where.images if where.source == 'folders' else where.split_file}"


def dataset_of(name):
    """The split file that the parameter file of a step names."""
    return split(read_yaml(ROOT / PARAMS / f"{name}.yaml")["dataset"])


def records(group, datasets):
    return expand(f"{RUNS}/{group}-{{dataset}}/record.json", dataset=datasets)


# What a table or figure is drawn from. Targets name it as well, because Snakemake does not miss a file that is gone while what
# was made of it stands.
DRAWN_FROM = {
    "table2": records("05_training", TABLE["datasets"]),
    "table3": [SOURCE],
    "table4": [SOURCE],
    "figure1": [ROLES],
    "figure2": [ROLES],
    "figure3": [SOURCE],
    "figure4": records("few_shot", SHOTS["datasets"]),
}
DRAWN_FROM |= dict.fromkeys(
    ("table5", "table6", "claims"),
    [
        *records("05_training", ABLATIONS["trained"]),
        *records("ablations", ABLATIONS["datasets"]),
        *records("sweeps", ABLATIONS["sweep_datasets"]),
        *records("few_shot", ABLATIONS["trained"]),
        SOURCE,
        f"{RUNS}/11_attribute_retrieval/record.json",
    ],
)


def table(name):
    return multiext(f"{FIGURES}/{name}", ".csv", ".md", ".tex", ".json")


def picture(name):
    return multiext(f"{FIGURES}/{name}", ".svg", ".png", ".json")


def reported(files, category):
    """The same outputs; `make report` shows tables as tables and figures as pictures."""
    return [report(f, category=category) if f.endswith((".csv", ".svg")) else f for f in files]


rule all:
    input:
        *(table(name) for name in ("table2", "table3", "table4", "table5", "table6", "claims", "audit")),
        *(picture(name) for name in ("figure1", "figure2", "figure3", "figure4")),
        f"{RUNS}/01_vit_internals/done",
        sorted({made for used in DRAWN_FROM.values() for made in used}),


# `make table5` and the like: one table or figure and what it needs.
for one in ("table2", "table3", "table4", "table5", "table6", "claims", "audit"):

    rule:
        name: one
        input: table(one), DRAWN_FROM.get(one, [])


for one in ("figure1", "figure2", "figure3", "figure4"):

    rule:
        name: one
        input: picture(one), DRAWN_FROM[one]


rule world:
    message: "Attribute World: rendering the data sets to data/mini"
    input:
        modules("dearlib/datasets/world/__main__.py"),
    output:
        expand("data/mini/{dataset}/split.json", dataset=[SOURCE_MINI, *SHIFTED_MINI, *TARGETS_MINI]),
    threads: 2
    resources:
        **needs("world"),
    shell:
        "python -m dearlib.datasets.world --out data/mini"


rule vit_internals:
    message: "01: inside the image encoder"
    input:
        **step("01_vit_internals"),
        split=dataset_of("01_vit_internals"),
    output:
        touch(f"{RUNS}/01_vit_internals/done"),
    log:
        notebook=f"{RUNS}/01_vit_internals/notebook.ipynb",
    resources:
        **needs("vit_internals", "01_vit_internals"),
    shell:
        READ + f" --out {RUNS}/01_vit_internals"


rule head_roles:
    message: "02: what the heads do"
    input:
        **step("02_head_roles"),
        split=dataset_of("02_head_roles"),
    output:
        ROLES,
        ASKED,
        f"{FIGURES}/roles.csv",
    log:
        notebook=f"{RUNS}/02_head_roles/notebook.ipynb",
    resources:
        **needs("head_roles", "02_head_roles"),
    shell:
        READ + f" --out {RUNS}/02_head_roles"


rule role_masks:
    message: "03: roles become masks"
    input:
        **step("03_role_masks"),
        roles=ROLES,
    output:
        reported(picture("figure1"), "figures"),
    log:
        notebook=f"{RUNS}/03_role_masks/notebook.ipynb",
    resources:
        **needs("role_masks", "03_role_masks"),
    shell:
        READ + f" --out {RUNS}/03_role_masks"


rule dear_model:
    message: "04: DeAR, forward and backward"
    input:
        **step("04_dear_model"),
        split=dataset_of("04_dear_model"),
        roles=ROLES,
    output:
        reported(picture("figure2"), "figures"),
    log:
        notebook=f"{RUNS}/04_dear_model/notebook.ipynb",
    resources:
        **needs("dear_model", "04_dear_model"),
    shell:
        READ + f" --out {RUNS}/04_dear_model"


rule training:
    message: "05: training on {wildcards.dataset}"
    priority: 1
    input:
        **step("05_training"),
        split=lambda w: split(w.dataset),
        roles=ROLES,
    output:
        f"{RUNS}/05_training-{{dataset}}/record.json",
        touch(f"{RUNS}/05_training-{{dataset}}/done"),
    log:
        notebook=f"{RUNS}/05_training-{{dataset}}/notebook.ipynb",
    threads: workers(ROOT / PARAMS / "05_training.yaml")
    resources:
        **needs("training", "05_training"),
    shell:
        READ + f" --out {RUNS}/05_training-{{wildcards.dataset}} -p dataset={{wildcards.dataset}}"


rule variants:
    message: "05: {wildcards.group} on {wildcards.dataset}"
    wildcard_constraints:
        group="|".join(PLANS),
    input:
        notebook="notebooks/05_variants.py",
        params=lambda w: f"{PARAMS}/{PLANS[w.group]}.yaml",
        modules=modules("notebooks/05_variants.py"),
        weights=step("05_variants")["weights"],
        split=lambda w: split(w.dataset),
        targets=lambda w: [split(t) for t in PLANNED[PLANS[w.group]]["targets"]],
        roles=[ROLES, *ASKED],
        # The base-to-novel run of a data set keeps its prefix, which all the variants share: let it come first. They do not read its
        # record, so they need not run again when it does: hence `ancient`, which counts only where the file exists, and a file of its own.
        first=lambda w: ancient(f"{RUNS}/05_training-{w.dataset}/done") if w.group != "source" else [],
    output:
        f"{RUNS}/{{group}}-{{dataset}}/record.json",
    log:
        notebook=f"{RUNS}/{{group}}-{{dataset}}/notebook.ipynb",
    threads: lambda w: workers(ROOT / PARAMS / f"{PLANS[w.group]}.yaml")
    resources:
        **needs("variants") | {"gpu": lambda w: gpus(ROOT / PARAMS / f"{PLANS[w.group]}.yaml")},
    shell:
        READ + f" --out {RUNS}/{{wildcards.group}}-{{wildcards.dataset}} -p dataset={{wildcards.dataset}}"


rule base_to_novel:
    message: "06: the base-to-novel table"
    input:
        **step("06_base_to_novel"),
        records=DRAWN_FROM["table2"],
    output:
        reported(table("table2"), "tables"),
    log:
        notebook=f"{RUNS}/06_base_to_novel/notebook.ipynb",
    resources:
        **needs("base_to_novel"),
    shell:
        RUN + f" --out {RUNS}/06_base_to_novel"


rule cross_dataset:
    message: "07: from one data set to others"
    input:
        **step("07_cross_dataset"),
        records=SOURCE,
    output:
        reported(table("table3"), "tables"),
    log:
        notebook=f"{RUNS}/07_cross_dataset/notebook.ipynb",
    resources:
        **needs("cross_dataset"),
    shell:
        RUN + f" --out {RUNS}/07_cross_dataset"


rule domain_generalization:
    message: "08: when the pictures change"
    input:
        **step("08_domain_generalization"),
        records=SOURCE,
        splits=[split(s) for s in SHIFTS["shifted"]],
    output:
        reported(table("table4"), "tables"),
    log:
        notebook=f"{RUNS}/08_domain_generalization/notebook.ipynb",
    resources:
        **needs("domain_generalization"),
    shell:
        READ + f" --out {RUNS}/08_domain_generalization"


rule few_shot:
    message: "09: accuracy against shots"
    input:
        **step("09_few_shot"),
        records=DRAWN_FROM["figure4"],
    output:
        reported(picture("figure4"), "figures"),
        f"{FIGURES}/figure4.csv",
    log:
        notebook=f"{RUNS}/09_few_shot/notebook.ipynb",
    resources:
        **needs("few_shot"),
    shell:
        RUN + f" --out {RUNS}/09_few_shot"


rule ablations:
    message: "10: ablations, controls, claims"
    input:
        **step("10_ablations"),
        records=DRAWN_FROM["table5"],
    output:
        reported(table("table5"), "tables"),
        reported(table("table6"), "tables"),
        reported(table("claims"), "tables"),
    log:
        notebook=f"{RUNS}/10_ablations/notebook.ipynb",
    resources:
        **needs("ablations"),
    shell:
        RUN + f" --out {RUNS}/10_ablations"


rule attribute_retrieval:
    message: "11: asking one token at a time"
    input:
        **step("11_attribute_retrieval"),
        records=SOURCE,
    output:
        reported(picture("figure3"), "figures"),
        f"{FIGURES}/figure3.csv",
        f"{RUNS}/11_attribute_retrieval/record.json",
    log:
        notebook=f"{RUNS}/11_attribute_retrieval/notebook.ipynb",
    resources:
        **needs("attribute_retrieval"),
    shell:
        READ + f" --out {RUNS}/11_attribute_retrieval"


rule paper_audit:
    message: "12: do the paper's tables add up?"
    input:
        **step("12_paper_audit"),
        reported=sorted(str(f.relative_to(ROOT)) for f in (ROOT / "dearlib/paper/reported").iterdir() if f.suffix in (".csv", ".json")),
    output:
        reported(table("audit"), "tables"),
    log:
        notebook=f"{RUNS}/12_paper_audit/notebook.ipynb",
    resources:
        **needs("paper_audit"),
    shell:
        RUN + f" --out {RUNS}/12_paper_audit"
