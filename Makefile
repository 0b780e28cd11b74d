# Everything starts here: `make repro` runs the experiment, `make test` proves it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
INSTALLED := $(VENV)/.installed

# Stages call `mnist12k`, which must be this environment's, activated or not.
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Nothing phones home: neither DVC's analytics nor MLflow's telemetry.
export DVC_NO_ANALYTICS := 1
export MLFLOW_DISABLE_TELEMETRY := true

.DEFAULT_GOAL := help
.PHONY: help repro tune ui screenshots test check format lock clean

help:  ## List these targets
	@sed -nE 's/^([a-z]+):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 13

repro: $(INSTALLED)  ## Fetch MNIST, study backprop, train, evaluate: runs what has changed
	dvc repro
	mnist12k publish

tune: $(INSTALLED)  ## Search for better hyperparameters; goes on where it was
	dvc repro pipelines/tune/dvc.yaml

ui: $(INSTALLED)  ## Serve the MLflow UI on 127.0.0.1, print and open the address of this project's runs
	mnist12k ui

screenshots: $(INSTALLED)  ## Take the pictures of docs/ from this project's own runs
	python docs/screenshots.py

test: check  ## Check, then run every test, on as many cores as there are
	pytest --numprocesses auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder

check: $(INSTALLED)  ## Lint, formatting, types, import order
	ruff check .
	ruff format --check .
	mypy
	lint-imports --no-cache

format: $(INSTALLED)  ## Mend what the linter can mend, and format
	ruff check --fix .
	ruff format .

lock: $(INSTALLED)  ## Renew requirements.lock from pyproject.toml
	uv pip compile --quiet --no-header --universal --python-version 3.11 --extra dev --upgrade pyproject.toml -o requirements.lock

clean:  ## Remove the environment (data, models, reports and runs stay)
	rm -rf $(VENV)

$(INSTALLED): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "mnist12k needs Python 3.11 or newer; set PYTHON=...")'
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@
