# `make demo` and `make test` need Python 3.11 or 3.12 and make, nothing else.
SHELL := /bin/sh
PYTHON ?= $(shell for p in python3.12 python3.11 python3 python; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' >/dev/null 2>&1 && { echo $$p; break; }; done)
BIN := .venv/bin
UV := $(BIN)/uv

.PHONY: help setup demo serve test chaos bench lint types check lock clean

help: ## show what there is to make
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

setup: .venv/.use ## set up `nextplay` in .venv, for use

demo: .venv/.use ## set up, then run the four stages on the Complete Journey data (var/demo/)
	$(BIN)/nextplay demo $(ARGS)

serve: .venv/.use ## serve the demo's database on http://127.0.0.1:8321
	$(BIN)/nextplay serve --data var/demo $(ARGS)

# Tests make thousands of small databases: in memory, where there is room, none waits for a disk. They start some
# processes from nothing: each would compile all it imports if none may keep what it compiled.
TESTS_IN ?= $(shell df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 && $$4 > 8000000 { print "/dev/shm" }')

# One more than there are cores: tests wait for disks, clocks and each other's processes a fifth of their time.
TESTS_AT_ONCE ?= $(shell echo $$(($$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2) + 1)))

test: .venv/.dev ## set up, then run every test
	folder=$$(TMPDIR=$(or $(TESTS_IN),$${TMPDIR:-/tmp}) mktemp -d) && TMPDIR=$$folder \
		env -u PYTHONDONTWRITEBYTECODE $(BIN)/pytest --numprocesses $(TESTS_AT_ONCE) --dist loadfile --no-loadscope-reorder --basetemp $$folder/tests $(ARGS) && \
		rm -rf $$folder

bench: .venv/.use ## measure against floors and peers
	$(BIN)/nextplay bench $(ARGS)

chaos: .venv/.dev ## kill services a few hundred times and see that nothing is lost (half an hour)
	$(BIN)/python -m tests.faults.chaos $(ARGS)

lint: .venv/.dev ## style, complexity and import direction
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

types: .venv/.dev ## mypy, strict
	$(BIN)/mypy

check: lint types test ## everything a change must pass

lock: .venv/.tool ## write the locked dependencies anew
	UV=$(UV) requirements/lock.sh

clean: ## remove the virtual environment and everything a run wrote
	rm -rf .venv var

.venv/.tool: requirements/tool.lock
	@test -n "$(PYTHON)" || { echo "nextplay needs Python 3.11 or 3.12 on the PATH (or: make PYTHON=/path/to/python3.12 …)" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/tool.lock
	@touch $@

# The development lock holds all of the lock for use at the same versions, so one environment serves both.
.venv/.use: .venv/.tool requirements/use.lock pyproject.toml
	@test -e .venv/.dev || $(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements/use.lock
	@test ! -e .venv/.dev || $(MAKE) .venv/.dev
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

.venv/.dev: .venv/.tool requirements/dev.lock pyproject.toml
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements/dev.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@
