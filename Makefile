# `make run` and `make test` need Python 3.11 or newer and nothing else: they make .venv themselves.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

RANKERS ?= bm25,de,ce,arr-ntp,arr-stoical
RUN_OPTIONS ?=

.PHONY: run test test-all lint clean

run: $(VENV)/.run
	$(BIN)/arrbench run --rankers $(RANKERS) --task wordnet $(RUN_OPTIONS)

# Without the slow ones, which `make test-all` and .ci/run run too.
test: $(VENV)/.test
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

test-all: $(VENV)/.test
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(VENV)/.lint
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

clean:
	rm -rf $(VENV)

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(VENV)/bin/python pyproject.toml constraints.txt
	$(INSTALL) -e ".[cpu]"
	touch $@

$(VENV)/.test: $(VENV)/bin/python pyproject.toml constraints.txt
	$(INSTALL) -e ".[cpu,test,lucene,irds]"
	touch $@

$(VENV)/.lint: $(VENV)/bin/python pyproject.toml constraints.txt
	$(INSTALL) -e ".[cpu,test,lucene,irds,dev]"
	touch $@
