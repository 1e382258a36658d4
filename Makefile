# make demo needs nothing but Python 3.11 or newer; every target installs what it uses into .venv once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
NATIVE := $(wildcard native/*)
# Two processes of one thread each but where threads are tested, which sleep while they wait: on two cores more of them keep
# the other process from its work.
PYTEST := OMP_WAIT_POLICY=passive OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --numprocesses 2 --dist worksteal
GOALS := $(or $(MAKECMDGOALS),demo)

.DEFAULT_GOAL := help
.PHONY: help demo test prove sanitize check format

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 10

demo: $(VENV)/.installed  ## train on the bundled sample, evaluate, write text (under 3 minutes after the download)
	$(BIN)/rnnkit demo

test: $(VENV)/.installed-test  ## run the tests, without the slow ones
	$(PYTEST) -m "not slow"

prove: $(VENV)/.installed-test sanitize  ## run all tests, the C++ kernels also under the sanitizers
	$(PYTEST)

sanitize: $(VENV)/.installed-test  ## run the tests of the C++ kernels with every access to memory checked
	$(INSTALL) --no-deps --upgrade --target build/sanitized \
	  -C cmake.define.RNNKIT_SANITIZE=ON -C build-dir=build/sanitizing .
	env LD_PRELOAD="$$(g++ -print-file-name=libasan.so) $$(g++ -print-file-name=libubsan.so)" \
	  ASAN_OPTIONS=detect_leaks=0 OMP_NUM_THREADS=2 \
	  $(BIN)/python tests/kernels/run_sanitized.py build/sanitized

check: $(VENV)/.installed-check  ## lint, layout, docstrings, types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(VENV)/.installed-check  ## lay the code out and apply the fixes that are safe
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# The stamps make the second call quick; they age when the wanted packages change.
$(VENV)/.created:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "There is no $(PYTHON). Install Python 3.11 or newer, or name it: make $(GOALS) PYTHON=python3.11" >&2; \
	  exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "rnnkit needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1)." >&2; \
	  echo "Name a newer one: make $(GOALS) PYTHON=python3.11" >&2; \
	  exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
	  echo "$(PYTHON) cannot make a virtual environment; on Debian and Ubuntu install python3-venv." >&2; \
	  exit 1; }
	@touch $@

$(VENV)/.installed: $(VENV)/.created pyproject.toml constraints.txt $(NATIVE)
	$(INSTALL) -e .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.created pyproject.toml constraints.txt $(NATIVE)
	$(INSTALL) -e '.[test]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-check: $(VENV)/.created pyproject.toml constraints.txt $(NATIVE)
	$(INSTALL) -e '.[test,check]'
	@touch $@ $(VENV)/.installed-test $(VENV)/.installed
