# Two commands for a fresh machine: `make demo` and `make test`. Both install into .venv what they need.
PYTHON ?= python3
VENV ?= .venv
# Any torch the package accepts will do; this one is pinned so that pip does not choose a CUDA build of gigabytes.
TORCH ?= torch==2.13.0
BIN := $(VENV)/bin
# A test process for each core. Tests of one `xdist_group` run one after another.
PYTEST := $(BIN)/python -m pytest --numprocesses=auto --dist=loadgroup
PLUGIN := tests/plugin_package

.PHONY: demo test test-quick lint check docs docs-links mutate package bench bench-quick clean

demo: $(VENV)/.installed
	$(BIN)/leam demo --out demo

test: $(VENV)/.installed-dev
	$(PYTEST)

test-quick: $(VENV)/.installed-dev
	$(PYTEST) -m "not slow"

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell
	$(BIN)/rumdl check .

check: lint test

# The site, in build/docs: notebooks are run where they changed, warnings are errors, and examples are checked.
SPHINX = $(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going --nitpicky --doctree-dir build/doctrees docs
docs: $(VENV)/.installed-dev
	$(SPHINX) --builder html build/docs
	$(SPHINX) --builder doctest build/doctest

# Links to other sites, which needs a network.
docs-links: docs
	$(SPHINX) --builder linkcheck build/linkcheck

# Plant faults in report, summary and tables, one at a time; every one must fail a test.
mutate: $(VENV)/.installed-dev
	$(BIN)/python scripts/mutate.py

# Build the sdist and the wheel, install the wheel in a fresh environment outside the tree, and run the demo from it.
package: $(VENV)/.installed-dev
	rm -rf dist
	$(BIN)/python -m build --quiet
	TORCH='$(TORCH)' PYTHON='$(abspath $(BIN)/python)' .ci/try-wheel dist/*.whl

# Both take PYTHON=, another interpreter that has the package. The other attribution methods need
# `pip install --group bench`.
# Weights that cards of the examples name, and faces, lie in the asset folder.
OTHER := $(filter-out python3,$(PYTHON))
ASSETS := $(abspath $(or $(LEAM_ASSETS),../shared))
BENCH = LEAM_ASSETS=$(ASSETS) $(or $(OTHER),$(BIN)/python)
BENCH_READY := $(if $(OTHER),,$(VENV)/.installed-dev)
FACES ?= $(ASSETS)/lfw/people
CARDS := examples/cards
GROWING := dlib_resnet,$(CARDS)/mobileface_v3.toml,$(CARDS)/mobileface_v2.toml,$(CARDS)/mobilefacenet_caffe.toml

bench-quick: $(BENCH_READY)
	$(BENCH) benchmarks/cost.py --models all --rounds 3

bench: $(BENCH_READY)
	$(BENCH) benchmarks/cost.py --models all --rounds 15 --out benchmarks/results.json --page docs/appendices/performance.md
	$(BENCH) benchmarks/cost.py --models all --rounds 15 --all-threads --out benchmarks/results.json --page docs/appendices/performance.md
	$(BENCH) benchmarks/where.py --models all --out benchmarks/results.json --page docs/appendices/performance.md
	$(BENCH) benchmarks/peers_cost.py --out benchmarks/results.json --page docs/appendices/performance.md
	$(BENCH) benchmarks/memory.py --faces 10000 --out benchmarks/results.json --page docs/appendices/performance.md
	$(BENCH) benchmarks/pairs.py --out benchmarks/results.json --page docs/appendices/performance.md
	$(BENCH) benchmarks/study_growth.py $(FACES) --models $(GROWING) --out benchmarks/results.json \
		--page docs/appendices/performance.md --figure docs/images/growth.png

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet --editable '.[demo]'
	touch $@

# The example plug-in is installed in the same command, so that pip takes this tree for the package it depends on.
$(VENV)/.installed-dev: $(VENV)/.installed pyproject.toml $(wildcard $(PLUGIN)/pyproject.toml)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --group dev --editable . $(PLUGIN:%=$(if $(wildcard $(PLUGIN)/pyproject.toml),--editable %))
	touch $@

clean:
	rm -rf $(VENV) demo build dist
