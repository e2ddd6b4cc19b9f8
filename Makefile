# The two commands: `make run` (the example, live) and `make test` (the whole suite). `make help` lists the rest.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help run test check servers bench speed fleet peers dashboards clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=/path/to/it")'
	$(PYTHON) -m venv .venv

.venv/.core: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

.venv/.dev: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@ .venv/.core

run: .venv/.core ## run the bundled example, live; Ctrl-C ends it
	@exec $(BIN)/model-exporter demo $(ARGS)

servers: ## install the servers that the tests use, where that is possible
	@tests/install-servers

test: .venv/.dev servers ## run the whole suite
	$(BIN)/python -m pytest -n 2 --dist loadgroup $(ARGS)

check: .venv/.dev servers ## lint, types, and the tests of what must hold across folders
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/contract

bench: speed ## measure speed, false alarms and detection (minutes; bench/README.md)
	$(BIN)/python -m bench.quiet_pager
	$(BIN)/python -m bench.detection

speed: .venv/.dev ## measure speed, memory and store against scipy and the limit (docs/performance.md)
	$(BIN)/python -m bench.w3
	$(BIN)/python -m bench.w1
	$(BIN)/python -m bench.w2
	$(BIN)/python -m bench.exposition
	$(BIN)/python -m bench.cluster

peers: .venv/.dev ## install six other libraries and measure W1 and W2 with them (half an hour, 5 GiB)
	$(BIN)/python -m bench.environments
	$(BIN)/python -m bench.speed_peers

fleet: .venv/.dev ## measure what many models in one process cost (half an hour; ARGS="--models 100" for less)
	$(BIN)/python -m bench.fleet $(ARGS)

dashboards: .venv/.dev ## build grafana/dashboards/*.json
	$(BIN)/python -m grafana.build

clean: ## remove what the other targets made
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis dist build
