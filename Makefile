# Three commands: 'make demo' shows what it does, 'make app' is for working with it in a browser, 'make test' shows that it
# works. Each makes .venv when it is not there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable
IMAGE ?=
LIBRARY ?=
# Tests that run at a time.
WORKERS ?= 2

.PHONY: demo app test benchmark load damaged random-walk mutations screenshots clean

demo: $(VENV)/demo-installed
	@$(BIN)/python -m training demo --output demo $(if $(IMAGE),--image "$(IMAGE)")

# On a phantom, on your own IMAGE, or on your LIBRARY of cases.
app: $(VENV)/app-installed
	@$(BIN)/python -c 'import slicer' 2>/dev/null || \
	  { echo "error: expected the system's OpenGL, got '$$($(BIN)/python -c 'import slicer' 2>&1 | tail -n 1)'. Install it: sudo apt-get install libgl1 libegl1 libegl-mesa0 libgl1-mesa-dri libxrender1" >&2; exit 1; }
	@$(BIN)/dense-landmarks serve $(if $(LIBRARY),"$(LIBRARY)",$(if $(IMAGE),"$(IMAGE)",Resources/SampleData/chest-phantom.nrrd))

test: $(VENV)/test-installed
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile -m 'not timed'
	@$(BIN)/python -m pytest -m timed

benchmark: $(VENV)/test-installed
	@$(BIN)/python -m Testing.benchmarks

# Four people who drag landmarks in their browsers for two minutes, two of them predicting.
load: $(VENV)/test-installed
	@$(BIN)/python -m Testing.benchmarks.browser

# A thousand damaged files, each of which must end in one line.
damaged: $(VENV)/test-installed
	@$(BIN)/python -m Testing.damaged_files

# Ten thousand random edits, undos, saves, kills and restores; nothing may be lost.
random-walk: $(VENV)/test-installed
	@$(BIN)/python -m Testing.annotation.session_machine
	@$(BIN)/python -m Testing.scene.walk

# Named faults, planted in a copy one at a time; each must turn a test red.
mutations: $(VENV)/test-installed
	@$(BIN)/python -m Testing.mutations

# The pictures of the README.
screenshots: $(VENV)/test-installed
	@$(BIN)/python -m Testing.screenshots

# The stamps are younger than what they were made from, so a second call installs nothing.
$(VENV)/demo-installed: $(VENV)/made pyproject.toml constraints.txt
	@echo "installing what the library needs (a few minutes the first time) ..."
	@$(INSTALL) .
	@touch $@

$(VENV)/app-installed: $(VENV)/made pyproject.toml constraints.txt
	@echo "installing what the browser's page needs (a few minutes the first time) ..."
	@$(INSTALL) '.[web]'
	@touch $@ $(VENV)/demo-installed

$(VENV)/test-installed: $(VENV)/made pyproject.toml constraints.txt
	@echo "installing what the tests need (a few minutes the first time) ..."
	@$(INSTALL) '.[test]'
	@touch $@ $(VENV)/demo-installed $(VENV)/app-installed

# Debian's python3 comes without ensurepip: then the system's pip fills the new environment.
$(VENV)/made:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "error: expected Python 3.11 to 3.13, got $$($(PYTHON) --version 2>&1). Name one that fits: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || \
	  { $(PYTHON) -m venv --clear --without-pip $(VENV) && $(PYTHON) -m pip --python $(BIN)/python install --quiet pip; } || \
	  { rm -rf $(VENV); echo "error: expected python3 with venv and pip, got one without. Install them: sudo apt-get install python3-venv python3-pip" >&2; exit 1; }
	@touch $@

clean:
	rm -rf $(VENV) demo build
