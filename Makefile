# `make repro` runs the experiment, `make test` tests the code, `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
# Two lists of exact versions: what running needs, and that with what testing needs.
INSTALLED := $(VENV)/.installed
TESTABLE := $(VENV)/.testable
PARALLEL := --numprocesses auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
UV := $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python
# TORCH=cpu leaves CUDA out: PyTorch comes from its own index, since PyPI has no such build for Linux.
# The environment remembers which it has.
MADE_WITH := $(shell cat $(VENV)/.torch 2>/dev/null)
TORCH := $(or $(TORCH),$(MADE_WITH),pypi)
ifeq ($(filter $(TORCH),cpu pypi),)
$(error TORCH=$(TORCH): it can be cpu, or pypi, the default)
else ifneq ($(or $(MADE_WITH),$(TORCH)),$(TORCH))
$(error TORCH=$(TORCH): $(VENV) was made with TORCH=$(MADE_WITH); `make clean` removes it)
endif
LEFT_OUT := $(if $(filter cpu,$(TORCH)),^(nvidia-|cuda-|triton=),^$$)
PIP += $(if $(filter cpu,$(TORCH)),--extra-index-url https://download.pytorch.org/whl/cpu)
UV += $(if $(filter cpu,$(TORCH)),--torch-backend cpu)
# The packages of a list: with uv, which takes a fraction of the time, or if it fails with pip.
packages = grep -vE '$(LEFT_OUT)' $(1) >$(VENV)/$(1) && { $(UV) -r $(VENV)/$(1) || $(PIP) -r $(VENV)/$(1); }
COMPILE := uv pip compile --quiet --no-header --universal --python-version 3.11

# DVC runs `mnist12k`: this environment's, whether it is activated or not.
export PATH := $(CURDIR)/$(BIN):$(PATH)
# No analytics of DVC, no telemetry of MLflow.
export DVC_NO_ANALYTICS := 1
export MLFLOW_DISABLE_TELEMETRY := true

.DEFAULT_GOAL := help
.PHONY: help install repro tune ui screenshots test test-all fast summary faults check format lock clean

help:  ## List these targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 13

install: $(INSTALLED)  ## Install what running needs

repro: $(INSTALLED)  ## Run every stage that has changed; TORCH=cpu first installs without CUDA
	mnist12k repair
	dvc repro
	mnist12k publish

tune: $(INSTALLED)  ## Search for better hyperparameters; an interrupted search resumes
	mnist12k repair
	dvc repro pipelines/tune/dvc.yaml

ui: $(INSTALLED)  ## Serve the MLflow UI on 127.0.0.1, and print the address of this project's runs
	mnist12k ui

screenshots: $(TESTABLE)  ## Take the screenshots in docs/ from this project's runs
	python docs/screenshots.py

test: check  ## Run the checks, then the tests but the longest, on up to 8 cores
	pytest -m "not long" $(PARALLEL) --cov

test-all: check  ## Run the checks, then every test: kills, outages, clusters, whole documents
	pytest $(PARALLEL) --cov

fast: $(TESTABLE)  ## Run the linter, and every test that takes no more than seconds
	ruff check .
	pytest -m "not slow"

summary: $(INSTALLED)  ## Print what this experiment changes, in Markdown; BASE=main is compared with
	python .github/summary.py $(or $(BASE),main)

faults: $(TESTABLE)  ## Kill commands, damage files and fill the disk, and write benchmarks/faults.md
	PYTHONPATH=tests python -m faults.campaign

check: $(TESTABLE)  ## Check lint, formatting, types, import order
	ruff check .
	ruff format --check .
	mypy
	lint-imports --no-cache
	deptry src
	deptry src tests benchmarks docs --exclude '\.venv' --ignore DEP002,DEP004
	check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	check-jsonschema --schemafile .devcontainer/schema.json .devcontainer/devcontainer.json

format: $(TESTABLE)  ## Fix what the linter can fix, and format
	ruff check --fix .
	ruff format .

lock: $(TESTABLE)  ## Update both requirements files from pyproject.toml
	$(COMPILE) --upgrade pyproject.toml -o requirements.lock
	$(COMPILE) --upgrade --extra dev --constraint requirements.lock pyproject.toml -o requirements-dev.lock

clean:  ## Remove the environment; keep data, models, reports and runs
	rm -rf $(VENV)

$(INSTALLED): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "mnist12k needs Python 3.11 or newer; set PYTHON=...")'
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	echo $(TORCH) >$(VENV)/.torch
	-$(PIP) $$(grep '^uv==' requirements-dev.lock)
	$(call packages,requirements.lock)
	$(PIP) --no-deps --no-build-isolation -e .
	touch $@

$(TESTABLE): requirements-dev.lock $(INSTALLED)
	$(call packages,requirements-dev.lock)
	touch $@
