# Two commands matter: `make demo` and `make test`. Each sets up all that it needs in .venv.
SHELL := /bin/bash
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
WORKERS ?= 2
SEEDS ?= 3000

.PHONY: help install demo test check simulate bench lock wheel clean

help:            ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 12

install: $(STAMP)   ## make .venv with .venv/bin/penstock in it

$(STAMP): requirements/dev.txt pyproject.toml tools/setup.sh
	@bash tools/setup.sh $(VENV) requirements/dev.txt
	@touch $@

demo: $(STAMP)      ## run the main job on real data
	$(VENV)/bin/penstock demo

check: $(STAMP)     ## linter, strict types, import contracts
	$(VENV)/bin/ruff check src tests benchmarks tools
	$(VENV)/bin/mypy
	PYTHONPATH=src $(VENV)/bin/lint-imports

test: check         ## everything, in under ten minutes on two cores
	$(PY) -m pytest -n $(WORKERS) --dist loadgroup

simulate: $(STAMP)  ## thousands of seeded runs of event source mappings, ten minutes; SEEDS=n for more or fewer
	PENSTOCK_SIMULATION_SEEDS=$(SEEDS) $(PY) -m pytest -n $(WORKERS) --timeout 3600 tests/simulation

bench: $(STAMP)     ## run the benchmarks and print a table with ratios
	$(PY) -m benchmarks

lock: $(STAMP)      ## resolve requirements/dev.txt anew from pyproject.toml
	$(PY) -m pip install -q uv
	$(VENV)/bin/uv pip compile pyproject.toml --extra demo --group dev --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-header --quiet -o requirements/dev.txt

wheel: $(STAMP)     ## build dist/penstock-*.whl
	$(PY) -m pip wheel -q --no-deps -w dist .

clean:              ## remove .venv and caches
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
