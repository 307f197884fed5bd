# From a clean clone to a result: `make demo` runs the main job, `make test` passes the tests. Each sets up what it
# needs in .venv first and does nothing twice. Needs Python 3.11 or later, GNU make (3.81 is enough) and a network or
# a package index that pip knows (every PIP_* variable and pip.conf counts). `make V=1 …` shows what pip does.

SHELL := /bin/sh
.SUFFIXES:
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
# torch is asked for in this very spelling: a bare `torch` may bring gigabytes that nobody wants
TORCH := torch==2.13.0
PACKAGES := rv_core rv_runner_local rv_runner_batch rv_runner_slurm rv_store_s3 rv_report rv_pipeline_chip_classification
PIP := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt $(if $(V),,-qq)
# a run started by make is no part of this make
FREE := unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES GNUMAKEFLAGS;

OUT := out/demo
DEMO_ARGS :=
NOX_ARGS :=

.PHONY: help setup demo test full dist clean

help:
	@echo "make demo    set up and run the demo into $(OUT)      (DEMO_ARGS='--data DIR --splits 2', OUT=DIR)"
	@echo "make test    set up and run every quick check         (NOX_ARGS='-s lint types')"
	@echo "make full    the same and all that takes long: real scenes, kills, lowest versions, benchmarks"
	@echo "make dist    build every package into dist/, and try them in an empty environment"
	@echo "make setup   set up only: .venv/bin/rv"
	@echo "make clean   remove environments and builds, not results"

setup: $(VENV)/.packages

demo: $(VENV)/.packages
	@$(FREE) $(BIN)/rv demo $(OUT) $(DEMO_ARGS)

test: $(VENV)/.nox
	@$(FREE) $(BIN)/python .ci/closing_line.py --forget; \
	$(BIN)/python -m nox $(NOX_ARGS) </dev/null; status=$$?; \
	$(BIN)/python .ci/closing_line.py && exit $$status

full: NOX_ARGS := -s full
full: test

dist: $(VENV)/.nox
	@$(FREE) $(BIN)/python -m nox -s dist </dev/null

clean:
	rm -rf $(VENV) .nox build

$(VENV)/.python:
	@set -e; for candidate in $(PYTHON) python3.11 python3 python3.12 python3.13 python3.14; do \
	  if "$$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "setting up $(VENV) with $$candidate"; \
	    rm -rf $(VENV); "$$candidate" -m venv $(VENV); touch $@; exit 0; \
	  fi; \
	done; \
	echo "rv needs Python 3.11 or later with its modules venv and ensurepip; none found on the PATH." >&2; \
	echo "Install one (Debian, Ubuntu: apt-get install python3 python3-venv) or name it: make PYTHON=/path/to/python" >&2; \
	exit 3

$(VENV)/.packages: $(VENV)/.python Makefile constraints.txt $(addsuffix /pyproject.toml,$(PACKAGES))
	@echo "installing the packages into $(VENV) (the first time takes minutes: torch is large)"
	@$(PIP) $(TORCH) $(addprefix -e ./,$(PACKAGES))
	@touch $@

$(VENV)/.nox: $(VENV)/.python Makefile constraints.txt
	@echo "installing nox into $(VENV)"
	@$(PIP) nox
	@touch $@
