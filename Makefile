# Pocketlens: bare `make` prints help. Needs Python 3.10 to 3.13 and a package registry, nothing else.

# 3.11 first: the newest that tflite-runtime, the interpreter of most devices, has wheels for.
PYTHON ?= $(shell for p in python3.11 python3.10 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
PACKAGER := build/packager

# What `make device` emulates, and the Pythons that `make slim` tries; empty for all.
TARGETS ?=
SLIM_PYTHONS ?=

DATASET ?= digits
OUT ?= build/$(shell basename "$(DATASET)")
DATA_DIR ?=
EPOCHS ?=
PRESET ?=
MAX_DROP ?=
SEED ?=
SECONDS ?= 1800
# Most of the suite is programs that start one after the other, each on one core.
PROCESSES ?= 2

.DEFAULT_GOAL := help
.PHONY: help export test test-fast coverage check format proof bench bench-live bench-train fuzz soak wheel release device slim peers docs \
	clean distclean

help: ## Print this help
	@echo "usage: make export [DATASET=digits|fashion-mnist|circles|FOLDER|FILE.csv]"
	@echo "                   [DATA_DIR=] [OUT=] [PRESET=] [EPOCHS=] [MAX_DROP=] [SEED=]"
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  DATASET   what to learn: digits (default), fashion-mnist, circles, a folder"
	@echo "            with a subfolder for each class, or a CSV file of images and their"
	@echo "            labels, or of readings of sensors"
	@echo "  DATA_DIR  where Fashion-MNIST's files lie, if they are not to be downloaded"
	@echo "  OUT       where the run and the models go (default: build/<dataset>)"
	@echo "  PRESET    fast (default) or best"
	@echo "  EPOCHS    passes over the training images (default: the preset's)"
	@echo "  MAX_DROP  accuracy that int8 may lose, 0 to 1 (default: 0.01, which is one"
	@echo "            percentage point)"
	@echo "  SEED      of everything random (default: 0)"
	@echo "  TARGETS   what device emulates: \"arm64 armhf trixie\" (default: all, half an"
	@echo "            hour; needs Debian)"
	@echo "  SLIM_PYTHONS  what slim tries: \"python3.11 python3.13\" (default: all found)"

export: $(VENV)/workstation.stamp ## Train, convert to float32 and int8, check the accuracy drop
	$(BIN)/pocketlens train --dataset "$(DATASET)" --out "$(OUT)/run" --force \
		$(if $(DATA_DIR),--data-dir "$(DATA_DIR)") $(if $(PRESET),--preset "$(PRESET)") $(if $(EPOCHS),--epochs "$(EPOCHS)") $(if $(SEED),--seed "$(SEED)")
	$(BIN)/pocketlens export "$(OUT)/run" --out "$(OUT)" $(if $(MAX_DROP),--max-drop "$(MAX_DROP)")

test: $(VENV)/dev.stamp ## Run the tests, PROCESSES at once (2)
	$(BIN)/python -m pytest -n $(PROCESSES) --dist worksteal

test-fast: $(VENV)/dev.stamp ## Run the tests that need no trained model: under a minute
	$(BIN)/python -m pytest -n $(PROCESSES) --dist worksteal -m "fast and not slow"

coverage: $(VENV)/dev.stamp ## Run the tests and count the lines and branches they reach
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n $(PROCESSES) --dist worksteal
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

check: $(VENV)/dev.stamp ## Check format, lint, types, and who imports whom
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/dev.stamp ## Put the code into its format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

proof: $(VENV)/dev.stamp ## Train on Fashion-MNIST, and check the figures (90 minutes)
	$(BIN)/python -m pytest -m slow -rP

bench: $(VENV)/dev.stamp ## Measure the runtime beside the program of TensorFlow's guide
	$(BIN)/python -m benchmarks

bench-live: $(VENV)/dev.stamp ## Measure `live`: frames a second, ages, idle scenes, a day's memory
	$(BIN)/python -m benchmarks.live

bench-train: $(VENV)/dev.stamp ## Measure the trainer beside its bare step: time and memory
	$(BIN)/python -m benchmarks.training

fuzz: $(VENV)/dev.stamp ## Feed hostile models and images to it (SEED=, SECONDS=)
	$(BIN)/python -m fuzz --seed "$(or $(SEED),0)" --seconds "$(SECONDS)"

soak: $(VENV)/dev.stamp ## Run 200,000 calls and 2,000 loads, and watch the memory
	$(BIN)/python -m benchmarks.soak

wheel: $(PACKAGER)/done.stamp ## Build the wheel that a device installs, into dist/
	rm -rf build/lib build/bdist.*  # setuptools would pack what an earlier build left there
	$(PACKAGER)/bin/python -m build --no-isolation --wheel --outdir dist .

release: $(VENV)/dev.stamp $(PACKAGER)/done.stamp ## Build sdist and wheel; check both in empty environments
	rm -rf dist build/lib build/bdist.*
	$(PACKAGER)/bin/python -m build --no-isolation --outdir dist .
	$(BIN)/python -m tools.release dist

device: wheel ## Run the runtime's tests, and install bundles, on emulated Raspberry Pis (TARGETS=)
	$(BIN)/python -m tools.device.check device $(TARGETS)

slim: wheel ## Run the runtime's tests without TensorFlow (SLIM_PYTHONS=)
	$(BIN)/python -m tools.device.check slim $(SLIM_PYTHONS)

peers: $(VENV)/dev.stamp ## Compare our answers with those of MediaPipe Tasks
	$(BIN)/python -m tools.peers.check

docs: $(VENV)/docs.stamp ## Build the documentation into build/site; check its links
	PYTHONPATH=. $(BIN)/mkdocs build --strict

clean: ## Remove what was built: models, runs, wheels, caches
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find runtime trainer exporter tests -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## Remove the virtual environment too
	rm -rf $(VENV)

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "error: no Python 3.10 to 3.13 found; install one or name it: make PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/workstation.stamp: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing the workstation into $(VENV); TensorFlow is large, this takes some minutes"
	$(INSTALL) -e '.[workstation]'
	@touch $@

# An environment of its own: hashes hold for everything in one call of pip, and `-e .` cannot have one.
$(PACKAGER)/done.stamp: build-requirements.txt
	$(PYTHON) -m venv $(PACKAGER)
	$(PACKAGER)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
		-r build-requirements.txt
	@touch $@

$(VENV)/dev.stamp: $(VENV)/workstation.stamp
	$(INSTALL) -e '.[workstation,dev]'
	@touch $@

# Apart from the tests: `make test` needs none of these packages.
$(VENV)/docs.stamp: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e '.[docs]'
	@touch $@
