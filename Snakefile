# Parameter file → notebook (papermill) or run → runs/<profile>/ → records → figures/<profile>/. `make reproduce` runs it.
#
# What there is to run says the study (params/<profile>/study.yaml); what a table is made of says dearlib.study.plan. A step runs
# again when its notebook, its parameters, its inputs, the weights or a module that it imports has changed. It computes with one
# thread, however many run at once, so results do not depend on the number of cores. Executed notebooks are logs: a failed one
# stays for reading.

import json
import shlex
from functools import cache
from pathlib import Path

from dearlib.datasets.catalogue import GENERATED, entry
from dearlib.params.reading import MEMORY, PROFILE as SHARED, merged, model_of, profile_layers
from dearlib.params.schemas import Variant
from dearlib.study.plan import MADE_OF, RETRIEVAL, SOURCE, read_plan
from dearlib.workflow.inputs import opened
from dearlib.workflow.sources import sources

PROFILE = config.get("profile", "mini")
ROOT = Path(workflow.basedir)
PARAMS = Path("params") / PROFILE
SETTINGS = merged(ROOT / PARAMS / SHARED, [*Variant.model_fields, MEMORY])
RUNS, FIGURES, ROLES = SETTINGS["runs_root"], SETTINGS["figures_root"], SETTINGS["roles"]
GIVEN = str(config["data"]) if "data" in config else None  # a data root in place of the profile's
DATA = GIVEN or SETTINGS["data_root"]
PLAN = read_plan(PROFILE, Path(FIGURES))
GROUPS = PLAN.study.groups
# Role files that runs ask for beside the one that was found; 02 makes them as well.
ASKED = sorted({run["roles"] for group in GROUPS.values() for run in group.runs.values() if "roles" in run} - {ROLES})
# Rows that are wanted of the other methods, all if not said; a finished run is kept, so asking for more later makes only those.
METHODS = str(config["methods"]).split(",") if "methods" in config else []
FROM = " -p " + shlex.quote(f"data_root={json.dumps(GIVEN)}") if GIVEN else ""
PYTHON = "OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 python -m dearlib.commands"
GPUS = SETTINGS["processes"] if SETTINGS["device"] == "cuda" else 0
DECODERS = 8  # cores for each GPU, on which its pictures are decoded [ours]
# What a step that looks into CLIP asks of a cluster. Here nothing of it counts: who starts Snakemake says how many steps have room.
CLIP = dict(gpu=GPUS, cpus_per_task=DECODERS * GPUS or SETTINGS["processes"], mem_mb=int(1000 * SETTINGS[MEMORY]))
TABLES = {name: [f"{FIGURES}/{name}{end}" for end in (".csv", ".md", ".tex", ".json")] for name in MADE_OF if not name.startswith("figure")}
PICTURES = {name: [f"{FIGURES}/{name}{end}" for end in (".svg", ".png", ".json")] for name in MADE_OF if name.startswith("figure")}
MADE = TABLES | PICTURES
# A notebook → all that it draws.
DRAWS = {made.notebook: [name for name in MADE_OF if MADE_OF[name].notebook == made.notebook] for made in MADE_OF.values()}


@cache
def modules(start):
    """The package's files that one stands on; asked for by every job."""
    return [str(m.relative_to(ROOT)) for m in sources(ROOT / start)]


def parameters(name):
    """The files that say what a notebook is told: its own and the profiles', as far as they exist."""
    folders = [folder for folder, _ in profile_layers(ROOT / PARAMS)]
    files = [folder / file for folder in folders for file in (SHARED, f"{name}.yaml")]
    if name == "study":
        files += [file for folder in folders for file in sorted((folder / "methods").glob("*.yaml"))]
    return [str(f.relative_to(ROOT)) for f in (*files, ROOT / "params/data_sets.yaml") if f.is_file()]


WEIGHTS = sorted(str(f.relative_to(ROOT)) for f in (ROOT / "dearlib/mini/assets").iterdir())


def split(dataset):
    """What says which pictures a data set has: its split file, its first list, or the folder of its class folders."""
    where = entry(dataset)
    return f"{DATA}/{where.folder}/{where.images if where.source == 'folders' else where.split_file}"


def records(name):
    """The records that a table or figure is drawn from."""
    there = [group for group in MADE_OF[name].groups if group in GROUPS or (group == RETRIEVAL and SOURCE in GROUPS)]
    return [str(PLAN.record(group, d)) for group in there for d in PLAN.group(group).datasets]


def methods(group):
    """The files of the methods that a group has beside DeAR."""
    keys = {run["method"] for run in GROUPS[group].runs.values() if "method" in run}
    return sorted({file for key in keys for place in ("family", "controls") for file in modules_of(f"dearlib/methods/{place}/{key}.py")})


def modules_of(file):
    return [file, *modules(file)] if (ROOT / file).is_file() else []


def wanted(group):
    """The rows that a group's step is told, where it has other methods and not all are wanted."""
    return "".join(f" --methods {shlex.quote(name)}" for name in METHODS) if GROUPS[group].methods else ""


def reported(files):
    """The same outputs; `make report` shows tables as tables and figures as pictures."""
    return [report(f, category="tables" if f.endswith(".csv") else "figures") if f.endswith((".csv", ".svg")) else f for f in files]


def run(name):
    given = FROM if "data_root" in model_of(name).model_fields else ""
    return f"{PYTHON} notebook notebooks/{name}.py {PARAMS}/{name}.yaml --out {RUNS}/{name}{given}"


rule all:
    input:
        *(MADE[name] for name in MADE),
        # Snakemake does not miss a file that is gone while what was made of it stands: so it is named as well.
        sorted({record for name in MADE for record in records(name)}),
        f"{RUNS}/01_vit_internals/done",


# `make table5` and the like: one table or figure and what it needs.
for one in MADE_OF:

    rule:
        name: one
        input: MADE[one], records(one)


rule world:
    message: "Attribute World: {wildcards.dataset}"
    wildcard_constraints:
        dataset="|".join(GENERATED),
    priority: 3  # above the runs': else those that have their pictures would keep the longest waiting for its own
    input:
        modules("dearlib/datasets/world/sets.py"),
    output:
        f"{DATA}/{{dataset}}/split.json",
    shell:
        f"{PYTHON} world --out {DATA} --only {{wildcards.dataset}}"


rule vit_internals:
    message: "01: inside the image encoder"
    input:
        notebook="notebooks/01_vit_internals.py",
        params=parameters("01_vit_internals"),
        modules=modules("notebooks/01_vit_internals.py"),
        weights=WEIGHTS,
        split=split(SETTINGS["dataset"]),
    output:
        touch(f"{RUNS}/01_vit_internals/done"),
    resources:
        **CLIP,
    shell:
        run("01_vit_internals")


rule head_roles:
    message: "02: what the heads do"
    priority: 4  # every run waits for it
    input:
        notebook="notebooks/02_head_roles.py",
        params=parameters("02_head_roles"),
        modules=modules("notebooks/02_head_roles.py"),
        weights=WEIGHTS,
        split=split(SETTINGS["dataset"]),
    output:
        ROLES,
        ASKED,
        f"{FIGURES}/roles.csv",
        reported(MADE["table1"]),
    resources:
        **CLIP,
    shell:
        run("02_head_roles")


rule run:
    message: "{wildcards.group} on {wildcards.dataset}"
    wildcard_constraints:
        group="|".join(GROUPS),
    priority: lambda w: 2 if w.group == SOURCE else 1  # by far the longest: were it last, the other cores would wait for it
    input:
        params=parameters("study"),
        modules=modules("dearlib/study/run.py"),
        methods=lambda w: methods(w.group),
        weights=WEIGHTS,
        split=lambda w: [split(d) for d in (w.dataset, *GROUPS[w.group].targets)],
        roles=[ROLES, *ASKED],
    output:
        f"{RUNS}/{{group}}-{{dataset}}/record.json",
    params:
        wanted=lambda w: wanted(w.group),
    threads: 1 if GPUS else SETTINGS["processes"]  # on GPUs it is these that say how many steps have room
    resources:
        **CLIP,
    shell:
        f"{PYTHON} run {PROFILE} {{wildcards.group}} {{wildcards.dataset}}{FROM}{{params.wanted}}"


rule neighbours:
    message: "whose neighbours the tokens of {wildcards.dataset} find"
    input:
        params=parameters("11_attribute_retrieval"),
        modules=modules("dearlib/study/neighbours.py"),
        weights=WEIGHTS,
        models=f"{RUNS}/{SOURCE}-{{dataset}}/record.json",
    output:
        f"{RUNS}/{RETRIEVAL}-{{dataset}}/record.json",
    resources:
        **CLIP,
    shell:
        f"{PYTHON} run {PROFILE} {RETRIEVAL} {{wildcards.dataset}}{FROM}"


# Records lie beside the tables that are drawn from them: who has the tables can draw them anew.
rule publish:
    localrule: True
    message: "the record of {wildcards.group} on {wildcards.dataset}"
    wildcard_constraints:
        group="|".join([*GROUPS, RETRIEVAL]),
    input:
        f"{RUNS}/{{group}}-{{dataset}}/record.json",
    output:
        f"{FIGURES}/records/{{group}}-{{dataset}}.json",
    shell:
        "cp {input} {output}"


for name, drawn in DRAWS.items():
    if name == "02_head_roles":
        continue

    rule:
        name: name.partition("_")[2]
        message: f"{name}: {', '.join(drawn)}"
        input:
            notebook=f"notebooks/{name}.py",
            params=parameters(name) + parameters("study"),
            modules=modules(f"notebooks/{name}.py"),
            weights=WEIGHTS,
            roles=ROLES,
            records=sorted({record for one in drawn for record in records(one)}),
            splits=[split(d) for d in opened(PLAN, SETTINGS["dataset"], name)],
        output:
            [reported(MADE[one]) for one in drawn],
        resources:
            **(CLIP if name.startswith(("03", "04", "11")) else {}),
        params:
            command=run(name),  # now; a shell line is read when the job starts, and the loop is over
        shell:
            "{params.command}"
