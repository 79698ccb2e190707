# Each target makes the environment it needs from requirements.lock, in .venv. Needs only Python >= 3.11.
#   make reproduce   run everything, draw every table      make lab    open the notebooks
#   make table2      (… table6, claims, audit, figure1 … figure4) one of them and what it needs
#                    PROFILE=paper DATA=DIR: ViT-B/16 on the public data sets under DIR, on a GPU
#   make fetch PROFILE=paper   download CLIP's weights and TextSpan's phrases, once; all else runs without a network
#   make miniature   the paper profile's study on generated pictures and random weights, on a CPU, into figures/miniature
#   make quick       the same with one seed and two data sets, into figures/quick
#   make plan        what `make reproduce` would run       make report  an HTML report on what has run
#   … EXECUTOR=slurm each notebook a SLURM job; profiles/slurm/config.yaml has the cluster's settings
#   make test        all tests                             make lint   style and types
#   make doctor DATA=DIR   which public data sets lie under DIR whole (NEEDS=table2: those of a table), and where to get the others
#   make pairs       keep the last run's outputs in notebooks/*.ipynb
#   make tune        choose hyper-parameters on validation pictures (into params/mini/tuning.csv)
#   make bench       time training at the paper's size beside the plain way, into figures/<hardware>/bench.csv (half an hour)
#   make lock        resolve pyproject.toml anew           make clean  remove what runs made
PYTHON ?= python3
PROFILE ?= mini
CORES ?= 2
EXECUTOR ?= local

UV := .venv/uv/bin/uv
PY := .venv/bin/python
READY := .venv/ready

export HF_HUB_OFFLINE := 1
export TOKENIZERS_PARALLELISM := false
# The caller's own environment must not leak into ours.
unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE

ONE := table2 table3 table4 table5 table6 claims audit figure1 figure2 figure3 figure4

FROM := $(if $(DATA),--data "$(DATA)")

.PHONY: reproduce quick fetch miniature $(ONE) plan report test lint lab doctor pairs tune bench lock clean

REPRODUCE = $(PY) -m dearlib.workflow.reproduce --cores $(CORES) --executor $(EXECUTOR) $(FROM) --profile

reproduce: $(READY)
	$(REPRODUCE) $(PROFILE)

quick: $(READY)
	$(REPRODUCE) quick

$(ONE): $(READY)
	$(REPRODUCE) $(PROFILE) --only $@

fetch: $(READY)
	HF_HUB_OFFLINE=0 $(PY) -m dearlib.workflow.inputs --profile $(PROFILE)

miniature: $(READY)
	$(PY) tests/miniature.py
	$(PY) -m dearlib.workflow.reproduce --profile miniature --cores $(CORES)

plan: $(READY)
	@$(REPRODUCE) $(PROFILE) --dry-run

report: $(READY)
	$(REPRODUCE) $(PROFILE) --report runs/$(PROFILE)/report.html

tune: $(READY)
	OMP_NUM_THREADS=1 $(PY) -m dearlib.study.tuning params/$(PROFILE)/05_training.yaml params/$(PROFILE)/tuning.yaml --out params/$(PROFILE)/tuning.csv --cores $(CORES)

bench: $(READY)
	$(PY) -m dearlib.bench

test: $(READY)
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(PY) -m pytest -q -n $(CORES)

lint: $(READY)
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy

# Jupyter takes the newer file of a pair as its source: make that the .py, whatever the checkout's times say.
lab: $(READY)
	touch notebooks/*.py
	$(PY) -m jupyter lab notebooks

doctor: $(READY)
	@$(PY) -m dearlib.datasets doctor --data "$(DATA)" $(if $(NEEDS),--needs $(NEEDS))

pairs: $(READY)
	@set -e; for run in runs/$(PROFILE)/*/notebook.ipynb; do \
	  step=$$(basename $$(dirname $$run)); name=$${step%%-*}; \
	  case $$step in 05_training-objects | ablations-objects) ;; *-*) continue;; esac; \
	  [ "$$name" = ablations ] && name=05_variants; \
	  $(PY) -m dearlib.workflow.pairs notebooks/$$name.py $$run; echo "notebooks/$$name.ipynb <- $$run"; \
	done

lock: $(UV)
	$(UV) pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate \
	  --all-extras pyproject.toml -o requirements.lock

clean:
	rm -rf runs data cache/prefix .snakemake .pytest_cache .mypy_cache .ruff_cache .hypothesis

# uv lives in an environment of its own inside .venv: `uv pip sync` removes from .venv what the lock does not name.
$(UV):
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("make: expected Python >= 3.11, got %d.%d; try make PYTHON=python3.11" % v[:2])'
	$(PYTHON) -m venv --without-pip .venv
	$(PYTHON) -m venv .venv/uv
	.venv/uv/bin/python -m pip install --quiet uv

$(READY): requirements.lock pyproject.toml $(UV)
	$(UV) pip sync --quiet --python $(PY) --require-hashes requirements.lock
	$(UV) pip install --quiet --python $(PY) --no-deps --editable .
	touch $@
