# `make app` opens the dashboard, `make test` runs every test; both make the environment first.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
SOURCES := pyproject.toml constraints.txt

.PHONY: app lab test lint unit nninteractive notebooks browser screenshot fuzz audit clean

app: $(VENV)/.app
	$(BIN)/sammed3d-nb app $(ARGS)

lab: $(VENV)/.app
	$(BIN)/sammed3d-nb lab $(ARGS)

test: lint unit notebooks browser

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: $(VENV)/.test $(VENV)/.nninteractive
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile -m "not browser" tests

# the tests with nnInteractive's own package and server alone
nninteractive: $(VENV)/.test $(VENV)/.nninteractive
	$(BIN)/pytest tests/segmenters/test_nninteractive.py tests/segmenters/test_remote.py tests/models/test_nninteractive_folder.py tests/commands/test_models_elsewhere.py

# lax: the notebooks are stored without outputs; their assert cells are the tests
notebooks: $(VENV)/.test
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile --nbval-lax --nbval-current-env --nbval-cell-timeout=300 notebooks

browser: $(VENV)/.test
	chromium=$$($(BIN)/python tools/chromium.py --install) && \
	OMP_NUM_THREADS=1 SAMMED3D_CHROMIUM="$$chromium" $(BIN)/pytest -n 2 --dist loadfile -m browser tests/browser

screenshot: $(VENV)/.test
	$(BIN)/python tools/screenshot.py

# ten minutes of changed files over every reader; ARGS="--only DICOM --seconds 60" and others
fuzz: $(VENV)/.test
	$(BIN)/python tests/fuzzing.py $(ARGS)

# exit status 3 (of the script): some versions could not be looked up, so nothing is said of them
audit: $(VENV)-audit/.audit
	$(VENV)-audit/bin/python tools/audit.py

$(VENV)-audit/.audit:
	$(PYTHON) -m venv $(VENV)-audit
	$(VENV)-audit/bin/python -m pip --disable-pip-version-check install --quiet "pip-audit>=2.9,<3"
	touch $@

$(VENV)/.venv:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"Python 3.11 or newer is needed, {sys.executable} is {sys.version.split()[0]}: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV) || { echo "Python cannot make virtual environments; on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	touch $@

# torch first and by its exact version, so that no other package draws in another build of it
$(VENV)/.app: $(VENV)/.venv $(SOURCES)
	$(PIP) "$$(grep '^torch==' constraints.txt)"
	$(PIP) --editable .
	touch $@

$(VENV)/.test: $(VENV)/.app $(SOURCES)
	$(PIP) --editable ".[test]"
	$(BIN)/python -m pip --disable-pip-version-check install --quiet --no-deps --upgrade --target $(VENV)/clients/oldest nninteractive-client==2.5.1
	touch $@

# without what its own requirements draw: see the file
$(VENV)/.nninteractive: $(VENV)/.test tests/nninteractive.txt
	$(BIN)/python -m pip --disable-pip-version-check install --quiet --no-deps -r tests/nninteractive.txt
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-audit .mypy_cache .pytest_cache .ruff_cache build dist
