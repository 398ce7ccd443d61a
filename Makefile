# make demo   segment the sample heart that ships with the package  -> demo_output/
# make test   run the tests            (PYTEST_ARGS="-k processor" to pass arguments to pytest, PYTEST_WORKERS=0 for one
#             process; by default one a core)
# make space  open the Gradio Space of spaces/ on http://127.0.0.1:7860
# make test-browser  run the tests of the Space, those in headless Chromium too (Debian: apt install chromium)
# make lint   ruff, rules and format
# make clean  remove the environment and everything that was built
#
# Each target makes the virtual environment .venv when there is none and installs what it needs, once.
# PYTHON=python3.12 chooses the interpreter; PIP_ARGS is handed to pip install. On Linux without a GPU
#   PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"
# spares the download of CUDA.

PYTHON ?= python3
PIP_ARGS ?=
PYTEST_ARGS ?=
PYTEST_WORKERS ?= auto

VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt $(PIP_ARGS)

.DEFAULT_GOAL := help
.PHONY: help demo test test-browser space lint clean

help:
	@sed -n -e '/^#/!q' -e 's/^# \{0,1\}//p' Makefile

demo: $(VENV)/.core
	$(BIN)/cmr-hf demo --out demo_output

test: $(VENV)/.dev
	HF_HUB_OFFLINE=$${HF_HUB_OFFLINE:-1} $(BIN)/python -m pytest -n $(PYTEST_WORKERS) --dist loadfile $(PYTEST_ARGS)

space: $(VENV)/.space
	$(BIN)/python spaces/app.py

test-browser: $(VENV)/.browser
	HF_HUB_OFFLINE=$${HF_HUB_OFFLINE:-1} $(BIN)/python -m pytest tests/spaces -m "browser or not slow" $(PYTEST_ARGS)

lint: $(VENV)/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean:
	rm -rf $(VENV) build dist demo_output .pytest_cache .ruff_cache .hypothesis
	find src tests training spaces -type d \( -name __pycache__ -o -name '*.egg-info' \) -prune -exec rm -rf {} + 2>/dev/null || true

# An environment, and three levels of what is installed in it. A stamp is written only after pip succeeded.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "cmr_hf needs Python 3.11 or newer, but '$(PYTHON)' is $$($(PYTHON) --version 2>&1)." \
	       "Choose another: make PYTHON=python3.12 ..." >&2; exit 1; }
	@echo "Making the virtual environment $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "'$(PYTHON) -m venv' failed (on Debian and Ubuntu: apt install python3-venv)." >&2; exit 1; }

$(VENV)/.core: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing cmr_hf into $(VENV) (once)"
	@$(PIP_INSTALL) -e .
	@touch $@

$(VENV)/.dev: Makefile pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing cmr_hf with its training and development extras into $(VENV) (once)"
	@$(PIP_INSTALL) -e '.[train,clinical,dev]'
	@touch $@ $(VENV)/.core $(VENV)/.lint

$(VENV)/.space: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing cmr_hf with the Space's extras into $(VENV) (once)"
	@$(PIP_INSTALL) -e '.[clinical,space]'
	@touch $@ $(VENV)/.core

$(VENV)/.browser: pyproject.toml constraints.txt | $(VENV)/.dev
	@echo "Installing the Space's extras and Playwright into $(VENV) (once)"
	@$(PIP_INSTALL) -e '.[train,clinical,space,browser,dev]'
	@touch $@ $(VENV)/.space

$(VENV)/.lint: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing ruff into $(VENV) (once)"
	@$(PIP_INSTALL) ruff
	@touch $@
