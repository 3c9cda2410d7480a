# The commands of this project; `make help` lists them.

VENV := .venv
BIN := $(VENV)/bin
# The system's Python where it is new enough: an interpreter under somebody's home can't be run
# by the unprivileged user that pods of the lab run as.
PYTHON ?= $(shell for p in /usr/bin/python3 python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { echo "$$p"; break; }; done)
PYTEST := $(BIN)/python -m pytest

.PHONY: help install demo test soak lint lock clean system-packages bench bench-quick

help:
	@echo "make install   .venv/ with .venv/bin/ktnet in it"
	@echo "make demo      a lab cluster, a connection to it, each step shown, all undone"
	@echo "make test      set-up, static checks and all tests (namespace tests as root only);"
	@echo "               KTNET_TEST_WORKERS=0 runs them in one process, not in two"
	@echo "make soak      the tests with their full counts"
	@echo "make bench     ktnet beside ssh -L and sshuttle, to bench/results/ (bench-quick: 1 minute)"
	@echo "make lint      format, lint, types and layers"
	@echo "make lock      pin the dependencies anew"
	@echo "make clean     remove what the others made"

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml requirements.lock | $(VENV)/python
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps -e .
	@# Who mayn't write into the tree would compile it at each start: pods of the lab, for one.
	@$(BIN)/python -m compileall -q ktnet
	@touch $@

$(VENV)/tested: requirements-test.lock $(VENV)/installed
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-test.lock
	@touch $@

$(VENV)/python:
	@sh .ci/system-packages python3-venv
	@test -n "$(PYTHON)" || { echo "ktnet needs Python 3.11 or newer, with venv and pip" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

# Debian packages that only the lab needs.
system-packages:
	@sh .ci/system-packages nftables iproute2

demo: install system-packages
	@$(BIN)/ktnet lab demo

test: $(VENV)/tested lint
	@sh .ci/test

soak: $(VENV)/tested
	@KTNET_SOAK=1 sh .ci/test

bench: $(VENV)/installed system-packages
	@$(BIN)/python -m pip install --quiet -e '.[bench]'
	@sh .ci/system-packages openssh-client
	@$(BIN)/python bench/run.py

bench-quick: $(VENV)/installed system-packages
	@sh .ci/system-packages openssh-client
	@$(BIN)/python bench/run.py --quick

lint: $(VENV)/tested
	$(BIN)/ruff format --check --quiet
	$(BIN)/ruff check --quiet
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

lock: $(VENV)/tested
	$(BIN)/python -m pip install --quiet pip-tools
	$(BIN)/pip-compile $(PIP_COMPILE) -o requirements.lock pyproject.toml
	$(BIN)/pip-compile $(PIP_COMPILE) --extra test -c requirements.lock -o requirements-test.lock pyproject.toml
	$(BIN)/pip-compile $(PIP_COMPILE) -c requirements.lock -o ktnet/shadow/requirements.txt ktnet/shadow/requirements.in

PIP_COMPILE := --quiet --generate-hashes --strip-extras --no-header --no-emit-index-url \
	--no-emit-find-links --no-emit-trusted-host --no-emit-options

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
