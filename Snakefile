# Parameter file → notebook (papermill) → runs/<profile>/ → figures/<profile>/. `make reproduce` runs it.
#
# Each notebook is one call of dearlib.runner, and runs again when the notebook, its parameter file, its inputs, the
# weights or a module that it imports has changed. A step computes with one thread, however many run at once, so
# results do not depend on the number of cores. Executed notebooks are logs: a failed one stays for reading.

from pathlib import Path

from dearlib.sources import sources
from dearlib.yaml12 import read_yaml

PROFILE = config.get("profile", "mini")
PARAMS = f"params/{PROFILE}"
ROOT = Path(workflow.basedir)
DATA = read_yaml(ROOT / PARAMS / "05_training.yaml")["data_root"]
TABLE = read_yaml(ROOT / PARAMS / "06_base_to_novel.yaml")
RUNS, FIGURES = TABLE["runs_root"], TABLE["figures_root"]
ROLES = f"{RUNS}/02_head_roles/roles.json"
RUN = "OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 python -m dearlib.runner {input.notebook} {input.params} --out"


def modules(start):
    return [str(m.relative_to(ROOT)) for m in sources(ROOT / start)]


def step(name):
    """Inputs that every step has; call as `**step(name)`."""
    return {
        "notebook": f"notebooks/{name}.py",
        "params": f"{PARAMS}/{name}.yaml",
        "modules": modules(f"notebooks/{name}.py"),
        "weights": sorted(str(f.relative_to(ROOT)) for f in (ROOT / "dearlib/assets").iterdir()),
    }


def split(dataset):
    return f"{DATA}/{dataset}/split.json"


def dataset_of(name):
    """The split file that the parameter file of a step names."""
    return split(read_yaml(ROOT / PARAMS / f"{name}.yaml")["dataset"])


rule all:
    input:
        multiext(f"{FIGURES}/table2", ".csv", ".md", ".tex"),
        multiext(f"{FIGURES}/audit", ".csv", ".md", ".tex"),
        expand(f"{RUNS}/{{step}}/done", step=["01_vit_internals", "03_role_masks", "04_dear_model"]),


rule world:
    message: "Attribute World: rendering the data sets to data/mini"
    input:
        modules("dearlib/datasets/world/__main__.py"),
    output:
        expand("data/mini/{dataset}/split.json", dataset=["source", *TABLE["datasets"]]),
    threads: 2
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
    shell:
        RUN + f" {RUNS}/01_vit_internals"


rule head_roles:
    message: "02: what the heads do"
    input:
        **step("02_head_roles"),
        split=dataset_of("02_head_roles"),
    output:
        ROLES,
    log:
        notebook=f"{RUNS}/02_head_roles/notebook.ipynb",
    shell:
        RUN + f" {RUNS}/02_head_roles"


rule role_masks:
    message: "03: roles become masks"
    input:
        **step("03_role_masks"),
        roles=ROLES,
    output:
        touch(f"{RUNS}/03_role_masks/done"),
    log:
        notebook=f"{RUNS}/03_role_masks/notebook.ipynb",
    shell:
        RUN + f" {RUNS}/03_role_masks"


rule dear_model:
    message: "04: DeAR, forward and backward"
    input:
        **step("04_dear_model"),
        split=dataset_of("04_dear_model"),
        roles=ROLES,
    output:
        touch(f"{RUNS}/04_dear_model/done"),
    log:
        notebook=f"{RUNS}/04_dear_model/notebook.ipynb",
    shell:
        RUN + f" {RUNS}/04_dear_model"


rule training:
    message: "05: training on {wildcards.dataset}"
    priority: 1
    input:
        **step("05_training"),
        split=split("{dataset}"),
        roles=ROLES,
    output:
        f"{RUNS}/05_training-{{dataset}}/record.json",
    log:
        notebook=f"{RUNS}/05_training-{{dataset}}/notebook.ipynb",
    shell:
        RUN + f" {RUNS}/05_training-{{wildcards.dataset}} -p dataset={{wildcards.dataset}}"


rule base_to_novel:
    message: "06: the base-to-novel table"
    input:
        **step("06_base_to_novel"),
        records=expand(f"{RUNS}/05_training-{{dataset}}/record.json", dataset=TABLE["datasets"]),
    output:
        multiext(f"{FIGURES}/table2", ".csv", ".md", ".tex"),
    log:
        notebook=f"{RUNS}/06_base_to_novel/notebook.ipynb",
    shell:
        RUN + f" {RUNS}/06_base_to_novel"


rule paper_audit:
    message: "12: do the paper's tables add up?"
    input:
        **step("12_paper_audit"),
        reported=sorted(str(f.relative_to(ROOT)) for f in (ROOT / "dearlib/reported").iterdir() if f.suffix in (".csv", ".json")),
    output:
        multiext(f"{FIGURES}/audit", ".csv", ".md", ".tex"),
    log:
        notebook=f"{RUNS}/12_paper_audit/notebook.ipynb",
    shell:
        RUN + f" {RUNS}/12_paper_audit"
