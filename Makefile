# make demo   from a fresh clone to the two figures of the README
# make demo-text   the same of small language models, on the sources of Python's standard library
# make test   the test suite: units, then whole commands; make test-unit: the quick ones of the units alone
# make docs   the documentation, links checked, and its notebook, run
# All do all their own set-up: a virtual environment in .venv, MPI included.
PYTHON ?= python3
RANKS  ?= 2
BIN    := .venv/bin

.PHONY: demo demo-text test test-unit test-commands coverage lint docs venv floors study faults mutations hosts benchmark clean
.DELETE_ON_ERROR:

venv: .venv/ready

.venv/ready: setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; say which with: make PYTHON=python3.12 venv" >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[mpich,test]'
	@touch $@

PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

test: venv
	$(PYTEST) tests/unit
	$(MAKE) test-commands

# For daily work, in memory: no process is started, no MPI, and what is marked slow is left to `make test`.
test-unit: venv
	$(PYTEST) -m "not slow" tests/unit

# Whole commands, under mpiexec too, installed packages and notebooks.
test-commands: venv
	$(PYTEST) tests/commands

# Which lines no test runs; the commands and ranks that tests start count too. Half an hour and more; a part:
# make coverage TESTS=tests/unit/engine
coverage: venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'coverage>=7.10'
	mkdir -p build/coverage
	$(BIN)/python -m coverage run -m pytest -n auto --maxprocesses 4 --dist loadfile $(TESTS)
	$(BIN)/python -m coverage combine --quiet --append
	$(BIN)/python -m coverage report

# The quick units with the oldest versions that setup.cfg allows, in an environment of their own.
floors:
	$(PYTHON) -m venv .venv-floors
	$(PYTHON) scripts/development/floors.py > .venv-floors/constraints.txt
	.venv-floors/bin/python -m pip install --quiet --disable-pip-version-check -c .venv-floors/constraints.txt -e '.[test]'
	.venv-floors/bin/python -m pytest -n auto --maxprocesses 4 --dist loadfile -m "not slow" tests/unit

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python scripts/development/rules.py
	$(BIN)/python scripts/development/docstrings.py

docs: venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r docs/requirements.txt
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	mkdir -p build/notebook && cp docs/five-minutes.ipynb build/notebook
	$(BIN)/jupyter-execute --timeout=900 build/notebook/five-minutes.ipynb

demo: venv
	$(BIN)/python scripts/demo.py results/demo --ranks $(RANKS)

demo-text: venv
	$(BIN)/python scripts/demo.py results/demo-text --text --ranks $(RANKS)

# The report, and figures, tables and numbers of results/study and results/pair, anew from results files. From nothing,
# in hours: scripts/studies/study.sh and pair.sh
study: venv
	PATH="$(CURDIR)/$(BIN):$$PATH" sh scripts/studies/study_figures.sh
	PATH="$(CURDIR)/$(BIN):$$PATH" sh scripts/studies/pair_figures.sh
	$(BIN)/python scripts/studies/report.py results >results/report/new && mv results/report/new results/report/README.md

# Not part of the tests, half an hour: kill runs at random moments, fill disks, take files away, stop ranks, and see
# what becomes of the results. A few minutes: make faults FAULTS=--quick; an hour of a million points: FAULTS=long.
# As root, on small file systems too.
faults: venv
	$(BIN)/python tests/faults $(FAULTS)

# Not part of the tests: break central lines in a copy; do the tests notice? All at once: MUTATIONS=--together
mutations: venv
	$(BIN)/python tests/mutations.py $(MUTATIONS)

# Not part of the tests, and for root on Linux: measure on two hosts, lose one of them, go on.
hosts: venv
	$(BIN)/python tests/faults/hosts.py

# Not part of the tests: what is quicker than what, as ratios.
benchmark: venv
	$(BIN)/python scripts/development/benchmark.py

clean:
	rm -rf .venv .venv-floors *.egg-info build
