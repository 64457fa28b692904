# Two commands do everything on a fresh machine: `make run` and `make test`.
PYTHON ?= python3
BIN    := .venv/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check
SOURCE := gateway providers tests

# Tests start hundreds of processes, which shall not compile what has been compiled already.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup run test lint test-real bench bench-instructions profile bench-scenarios bench-peers prove-limits chaos fuzz lock

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

setup: .venv/.test ## set up everything that development needs

run: .venv/.run ## set up, then start the demo: a gateway before two simulated replicas
	@$(BIN)/lockgate demo

test: .venv/.test lint ## set up, then run everything that CI runs
	$(BIN)/pytest -q -n auto --dist loadfile -m "not real" --cov --cov-report=term:skip-covered

lint: .venv/.test ## style, types and the direction of imports
	$(BIN)/ruff check $(SOURCE)
	$(BIN)/ruff format --check $(SOURCE)
	$(BIN)/mypy
	$(BIN)/lint-imports

test-real: .venv/.test ## against a real inference server, which is built first (minutes)
	$(BIN)/pytest -q -m real -s --timeout 1800 tests/real

bench: .venv/.test ## CPU per request and per chunk, beside rolter, Caddy and nginx (5 minutes)
	$(BIN)/python -m tests.bench

bench-instructions: .venv/.test ## instructions per request and per chunk, the same on a busy machine (minutes)
	$(BIN)/python -m tests.bench.instructions

profile: .venv/.test ## where the CPU of a request and of a chunk goes: tables and flame graphs
	$(BIN)/python -m tests.bench.hot_spots requests
	$(BIN)/python -m tests.bench.hot_spots chunks

bench-scenarios: .venv/.test ## thousands of streams, two workers, much of everything (minutes)
	$(BIN)/python -m tests.bench.many_streams
	$(BIN)/python -m tests.bench.workers
	$(BIN)/python -m tests.bench.growth

bench-peers: .venv/.test ## one table of this gateway and its peers, which are installed first (10 minutes)
	$(BIN)/python -m tests.bench.peers --markdown

prove-limits: .venv/.test ## a million raced attempts, and every invariant of the limits at length (minutes)
	$(BIN)/python -m tests.proofs

chaos: .venv/.test ## 100,000 requests in any weather, and every fault at length (minutes)
	$(BIN)/python -m tests.chaos
	AT_LENGTH=1 $(BIN)/pytest -q --timeout 600 -p no:cacheprovider tests/system/faults

fuzz: .venv/.test ## every parser that meets bytes from outside, for a minute each
	$(BIN)/python -m tests.fuzz

lock: .venv/.test ## write the locked requirements anew (needs uv)
	uv pip compile pyproject.toml --extra build --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-header -q -o deploy/requirements/run.txt
	uv pip compile pyproject.toml --extra build --extra test --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-header -q \
		-c deploy/requirements/run.txt -o deploy/requirements/test.txt

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Lockgate needs Python 3.11 or newer.")'
	@$(PYTHON) -m venv .venv

.venv/.run: deploy/requirements/run.txt pyproject.toml | .venv/bin/python
	@echo "Installing Lockgate into .venv (a minute, once) ..."
	@$(PIP) --require-hashes -r deploy/requirements/run.txt
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

.venv/.test: deploy/requirements/test.txt .venv/.run
	@echo "Installing what the tests need into .venv ..."
	@$(PIP) --require-hashes -r deploy/requirements/test.txt
	@touch $@
