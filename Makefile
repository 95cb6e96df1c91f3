# make setup   everything a demo needs, into .venv (Python 3.11+, git and make are enough)
# make demo    Musterstadt with simulated citizens; ARGS="--callers 5" passes options on
# make test    linters, types and all tests, with what they need from Debian's packages
# make bench   benchmarks, results in docs/benchmarks.md
# make lint    linters and types alone
# make lock    newest versions that pyproject.toml allows, into requirements/
# make clean   removes .venv and all that was built

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.PHONY: setup demo test bench lint lock clean

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq
WORKERS ?= 2
ARGS ?=

UI_SOURCES := $(shell git ls-files -- switchboard_ui 2>/dev/null)
SOURCES := comms sip queue video

setup: $(VENV)/.package

$(VENV)/.made: tools/make_venv.sh
	@bash tools/make_venv.sh $(VENV)
	@touch $@

$(VENV)/.run: $(VENV)/.made requirements/run.txt requirements/build.txt
	@echo "Installing libraries (a few minutes the first time) ..."
	@$(PIP) install --require-hashes -r requirements/build.txt -r requirements/run.txt
	@touch $@

$(VENV)/.package: $(VENV)/.run pyproject.toml $(wildcard hatch_build.py) $(UI_SOURCES)
	@echo "Building the browser applications and installing comms ..."
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m compileall -q $(SOURCES)
	@touch $@
	@echo "Ready: $(BIN)/comms --help"

$(VENV)/.test: $(VENV)/.package requirements/test.txt
	@echo "Installing what the tests need ..."
	@$(PIP) install --require-hashes -r requirements/test.txt
	@touch $@

demo: setup
	@$(BIN)/comms demo $(ARGS)

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=.:queue $(BIN)/lint-imports --no-cache

test: $(VENV)/.test
	@bash tools/system_packages.sh
	@$(MAKE) --no-print-directory lint
	cd switchboard_ui && PATH="$(CURDIR)/$(BIN):$$PATH" npm run --silent types:check
	cd switchboard_ui && PATH="$(CURDIR)/$(BIN):$$PATH" npm test --silent
	$(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

bench: $(VENV)/.test
	$(BIN)/python bench/run.py $(ARGS)

LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-emit-find-links --no-header --upgrade

lock: $(VENV)/.made
	@$(PIP) install "uv>=0.13"
	$(LOCK) requirements/build.in -o requirements/build.txt
	$(LOCK) pyproject.toml -o requirements/run.txt
	$(LOCK) pyproject.toml --all-extras -o requirements/test.txt

clean:
	rm -rf $(VENV) comms/static switchboard_ui/node_modules .mypy_cache .ruff_cache .pytest_cache
	find $(SOURCES) tests -name __pycache__ -prune -exec rm -rf {} +
