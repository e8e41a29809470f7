# Two commands for a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
# Any torch the package accepts will do; this one is pinned so that pip does not choose a CUDA build of gigabytes.
TORCH ?= torch==2.13.0
BIN := $(VENV)/bin

.PHONY: demo test lint check bench bench-quick clean

demo: $(VENV)/.installed
	$(BIN)/leam demo --out demo

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint test

# Both take PYTHON=, another interpreter that has the package; the peers come with the extra `bench`.
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
	$(BENCH) benchmarks/cost.py --models all --rounds 15 --one-thread --out benchmarks/results.json --page docs/performance.md
	$(BENCH) benchmarks/where.py --models all --out benchmarks/results.json --page docs/performance.md
	$(BENCH) benchmarks/peers_cost.py --out benchmarks/results.json --page docs/performance.md
	$(BENCH) benchmarks/memory.py --faces 10000 --out benchmarks/results.json --page docs/performance.md
	$(BENCH) benchmarks/pairs.py --out benchmarks/results.json --page docs/performance.md
	$(BENCH) benchmarks/study_growth.py $(FACES) --models $(GROWING) --out benchmarks/results.json \
		--page docs/performance.md --figure docs/images/growth.png

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet --editable '.[demo]'
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) demo build dist
