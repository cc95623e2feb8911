# Everything below sets itself up: a virtual environment in .venv with the versions that are tested.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Test files at once; most of their time is spent waiting for processes, servers and screens.
WORKERS ?= 2

.PHONY: demo test test-all test-whole test-files test-servers check lint mutants bench clean
.DEFAULT_GOAL := help

help: ## Show this list.
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/'

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Kinprint needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group dev --editable ".[generator,timestamp]"
	@# It declares torchvision, which it needs for nothing that we convert.
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps onnx2pytorch
	touch $@

demo: $(READY) ## Craft, sign and audit the embedded example (about 2 minutes on 2 cores).
	$(BIN)/kinprint demo

# A file stays in one process, which makes what its tests share once; the slowest ones begin.
SPREAD := --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

test: $(READY) ## Run the tests (about 6 minutes on 2 cores).
	$(BIN)/python -m pytest $(SPREAD)

test-all: $(READY) ## Run the long ones too: the demo, the first hour's guide, real servers (about 12 minutes).
	$(BIN)/python -m pytest $(SPREAD) -m 'not servers and not installed and not files and not whole'

test-whole: $(READY) ## Run what takes minutes a case: the arena, hundreds of kills, every changed byte.
	$(BIN)/python -m pytest $(SPREAD) -m whole

test-files: $(READY) ## Read files of real exporters, which install on first use.
	$(BIN)/python -m pytest -m files

test-servers: $(READY) ## Run the tests that need Triton and TorchServe, which install on first use.
	$(BIN)/python -m pytest -m servers

.PHONY: test-installed
test-installed: $(READY) ## Build the distribution, install it elsewhere and use it.
	$(BIN)/python -m pytest -m installed tests/installed

lint: $(READY) ## Format and lint checks, types, import layers.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint ## Everything that must hold before a change lands, but the tests.
	$(BIN)/python -m pytest --doctest-modules --ignore=tests --ignore=benchmarks -q adapters audit generator

mutants: $(READY) ## Change what decides, one thing at a time, and see what no test notices (hours).
	@# MUTANTS="audit.verdict.p_values.*" takes some; mutmut browse shows what survived.
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/mutmut run --max-children 1 $(MUTANTS)

bench: $(READY) ## Measure speed and size; prints tables, writes benchmarks/results.
	$(BIN)/python -m benchmarks

clean: ## Remove the virtual environment and caches.
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache build *.egg-info
