# Two commands do all their own set-up: `make quickstart` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# a process a core; each begins with its share of the files in order, then takes what another has not begun
ON_ALL_CORES := --numprocesses auto --maxprocesses 8 --dist worksteal
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: help quickstart test test-all check docs package clean

help:  ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "stratoscope needs Python 3.11 or newer: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: $(BIN)/python pyproject.toml constraints.txt
	@echo "Installing stratoscope into $(VENV) (torch is large: some minutes the first time)"
	$(PIP_INSTALL) --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.core
	$(PIP_INSTALL) --editable '.[test]'
	@touch $@

$(VENV)/.dev: $(VENV)/.test
	$(PIP_INSTALL) --editable '.[dev]'
	@touch $@

$(VENV)/.docs: $(VENV)/.core
	$(PIP_INSTALL) --editable '.[docs]'
	@touch $@

$(VENV)/.package: $(VENV)/.core
	$(PIP_INSTALL) --editable '.[package]'
	@touch $@

quickstart: $(VENV)/.core  ## random labels on a small built-in data set, every layer probed: table and picture
	$(BIN)/stratoscope fit --config configs/quickstart.yaml

# two threads that wait for each other on a busy machine are several times slower than one: a process a core instead
test test-all: export OMP_NUM_THREADS = 1
# what is imported by hundreds of processes is compiled once
test test-all: export PYTHONDONTWRITEBYTECODE =

test: $(VENV)/.test  ## the tests that take some six minutes together, on two idle cores
	$(BIN)/python -m pytest $(ON_ALL_CORES) -m 'not slow'

test-all: $(VENV)/.test  ## every test
	$(BIN)/python -m pytest $(ON_ALL_CORES)

check: $(VENV)/.dev  ## lint and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

docs: $(VENV)/.docs  ## the documentation as pages to be opened without a server: build/docs/html/index.html
	$(BIN)/python -m sphinx -q -b html -W --keep-going -E -d build/docs/doctrees docs build/docs/html

package: $(VENV)/.package  ## wheel and sdist, checked; the wheel tried in a fresh environment
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/python scripts/try_wheel.py dist/*.whl

clean:  ## remove the environment and caches, never runs or data
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache build dist
