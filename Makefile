# Short names of `dearlib` commands. Each makes the environment it needs from requirements.lock, in .venv. Needs only Python >= 3.11.
#   make reproduce   run everything, draw every table      make figures   draw all of them from the committed records, without training
#   make table2      (… table6, claims, audit, figure1 … figure4) one of them and what it needs
#                    PROFILE=paper DATA=DIR: ViT-B/16 on the public data sets under DIR, on a GPU; METHODS="A B": other methods beside DeAR
#   make fetch PROFILE=paper   download CLIP's weights and TextSpan's phrases, once; all else runs without a network
#   make miniature   the paper profile's study on generated pictures and random weights, on a CPU, into figures/miniature
#   make quick       the same with one seed and two data sets, into figures/quick
#   make plan        what `make reproduce` would run       make report  an HTML report on what has run
#   … CORES=4        steps at once (the machine's cores, if its memory has room)    … EXECUTOR=slurm   each step a SLURM job
#   make test        all tests                             make lint    style and types
#   make lab         open the notebooks                    make pairs   keep the last run's outputs in notebooks/*.ipynb
#   make doctor DATA=DIR   which public data sets lie under DIR whole (NEEDS=table2: those of a table), and where to get the others
#   make compare IN=DIR    hold figures/mini against another folder of tables      make check   a sample of the committed records, made anew
#   make tune        choose hyper-parameters on validation pictures (into params/mini/tuning*.csv)
#   make bench       time training at the paper's size beside the plain way, into figures/<hardware>/bench.csv (twenty minutes)
#   make alone       every notebook first, by itself, in a clone of what is committed; times into figures/<hardware>/alone.csv
#   make site OUT=site                                     make browser   the site and the explorer in a real browser
#   make assignments OUT=DIR   the course's hand-outs      make grade IN=submissions OUT=grades.csv     make course   build and grade all of it
#   make lock        resolve pyproject.toml anew           make clean  remove what runs made
PYTHON ?= python3
PROFILE ?= mini
EXECUTOR ?= local

UV := .venv/uv/bin/uv
PY := .venv/bin/python
READY := .venv/ready

export HF_HUB_OFFLINE := 1
export TOKENIZERS_PARALLELISM := false
# The caller's own environment must not leak into ours.
unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE

ONE := table1 table2 table3 table4 table5 table6 cost_methods table5_controls gain claims audit figure1 figure2 figure3 figure4

DEARLIB := $(PY) -m dearlib.commands
AT_ONCE := $(if $(CORES),--cores $(CORES))
REPRODUCE := $(DEARLIB) reproduce $(AT_ONCE) --executor $(EXECUTOR) $(if $(DATA),--data "$(DATA)") $(foreach m,$(METHODS),--methods $(m)) --profile
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
TESTS := $(ONE_THREAD) $(PY) -m pytest -q

.PHONY: help env reproduce quick figures fetch miniature $(ONE) plan report test course browser lint lab doctor compare check pairs tune bench alone
.PHONY: site assignments grade lock clean

help:
	@sed -n 's/^#   //p' Makefile

env: $(READY)

reproduce: $(READY)
	$(REPRODUCE) $(PROFILE)

quick: $(READY)
	$(REPRODUCE) quick

figures: $(READY)
	$(DEARLIB) figures --profile $(PROFILE) $(AT_ONCE)

$(ONE): $(READY)
	$(REPRODUCE) $(PROFILE) --only $@

fetch: $(READY)
	HF_HUB_OFFLINE=0 $(DEARLIB) fetch --profile $(PROFILE)

miniature: $(READY)
	$(PY) tests/miniature.py
	$(REPRODUCE) miniature

plan: $(READY)
	@$(REPRODUCE) $(PROFILE) --plan

report: $(READY)
	$(REPRODUCE) $(PROFILE) --report runs/$(PROFILE)/report.html

tune: $(READY)
	$(ONE_THREAD) $(DEARLIB) tune --profile $(PROFILE) --all-methods $(AT_ONCE)
	$(ONE_THREAD) $(DEARLIB) tune --profile $(PROFILE) $(AT_ONCE)

bench: $(READY)
	$(DEARLIB) bench

alone: $(READY)
	$(PY) tests/alone.py

compare: $(READY)
	$(DEARLIB) compare "$(IN)" $(or $(OUT),figures/$(PROFILE)) --tolerance params/mini/tolerance.yaml

check: $(READY)
	$(DEARLIB) check --profile $(PROFILE) $(AT_ONCE)

test: $(READY)
	$(TESTS) -n $(or $(CORES),auto) --dist worksteal

course: $(READY)
	$(TESTS) -m course

browser: $(READY)
	$(TESTS) -m browser

lint: $(READY)
	.venv/bin/lint-imports --no-logo
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy

# Jupyter takes the newer file of a pair as its source: make that the .py, whatever the checkout's times say.
lab: $(READY)
	touch notebooks/*.py
	$(PY) -m jupyter lab notebooks

doctor: $(READY)
	@$(DEARLIB) doctor --data "$(DATA)" $(foreach n,$(NEEDS),--needs $(n))

pairs: $(READY)
	$(DEARLIB) pairs --profile $(PROFILE)

site: $(READY)
	$(DEARLIB) site $(if $(OUT),--out "$(OUT)")

assignments: $(READY)
	$(DEARLIB) assignments $(if $(OUT),--out "$(OUT)")

grade: $(READY)
	$(DEARLIB) grade "$(IN)" --out "$(OUT)"

lock: $(UV)
	$(UV) pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate \
	  --all-extras pyproject.toml -o requirements.lock

clean:
	rm -rf runs data cache/prefix cache/site build site .snakemake .pytest_cache .mypy_cache .ruff_cache .hypothesis

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
