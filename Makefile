SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.SUFFIXES:
.DEFAULT_GOAL := help
MAKEFLAGS += --warn-undefined-variables --no-builtin-rules

PYTHON ?= python3
UV     := .venv/uv/bin/uv
TOOLS  := .venv/tools/bin

# --- tools: one virtual environment a purpose, made again when its requirements change -------------------------------

$(UV): build/requirements/uv.txt
	@$(PYTHON) -m venv .venv/uv
	@.venv/uv/bin/pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

# uv finds or fetches the Python of the Lambda runtime; PYENV_VERSION lets it see pyenv's.
.venv/%/requirements.txt: build/requirements/%.txt | $(UV)
	@PYENV_VERSION=3.13 $(UV) venv --quiet --clear --python 3.13 .venv/$* 2>/dev/null \
	  || { echo "No Python 3.13 found or fetched: .venv/$* uses $$($(PYTHON) --version)."; \
	       $(UV) venv --quiet --clear --python "$$(command -v $(PYTHON))" .venv/$*; }
	@$(UV) pip sync --quiet --require-hashes --python .venv/$* $<
	@cp $< $@

lock: $(UV) ## Write the pinned requirements again from the .in files
	@cd build/requirements && for name in tools runtime checkov layer; do \
	  ../../$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	    --custom-compile-command "make lock" $$name.in --output-file $$name.txt; done
.PHONY: lock
