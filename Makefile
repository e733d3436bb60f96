# Tests run in two processes, so each takes one thread.
# quickstart: install and train the small suite to a report. test: every check and the fast tests. test-all: also the slow ones.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: quickstart install dev check format test test-all clean

quickstart: install
	$(BIN)/ranbench run suites/quickstart.yaml
	$(BIN)/ranbench report suites/quickstart.yaml --compare

install: $(VENV)/.installed
dev: $(VENV)/.installed-dev

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ranbench needs Python 3.11 or later")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@ $(VENV)/.installed

check: dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/ranbench validate suites/*.yaml

format: dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

test: check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow and not gpu" -n 2

test-all: check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not gpu" -n 2

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis dist
