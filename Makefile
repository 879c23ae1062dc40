# make demo   install, train on synthetic videos, score, report (FAST=1: a minute's training, to see that it runs)
# make test   the tests            make lint   ruff and mypy            make install   only the .venv
# make nightly   all tests, with three times the random cases
# make docs   the documentation, into site/index.html
PYTHON ?= python3
BIN := .venv/bin
DEMO := runs/demo/$(shell date +%Y-%m-%d_%H-%M-%S)

.PHONY: install demo test nightly lint docs clean

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: install
	$(BIN)/python -m adnet.train +experiment=$(if $(FAST),demo_fast,demo) hydra.run.dir=$(DEMO)
	$(BIN)/python -m adnet.report runs=$(DEMO) output=$(DEMO)/report

# A process for each core, with one thread: a file's tests stay together, for what they share is made once in each process.
# In the order of their names, the folders of few long tests come before those of many short ones, which fill the end.
test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder --durations 40

nightly:
	ADNET_NIGHTLY=1 ADNET_FUZZ=3 $(MAKE) test

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

clean:
	rm -rf .venv build dist site
