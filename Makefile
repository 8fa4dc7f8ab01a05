# Every target sets up what it needs: `make demo` and `make test` work on a fresh machine with Python 3.11 or later.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
STAMP = $(VENV)/.statim-stamp
WORKERS ?= 2
# seconds of the soak test, which leaves most of the processors to the others
SOAK ?= 1800

.PHONY: help setup demo english test test-long check docs audit release-check bench clean

help:
	@echo "make demo       train on this machine's Python documentation, compare, search"
	@echo "make english    the bundled model again, from the sets in DATA"
	@echo "make test       every test but the long ones"
	@echo "make test-long  the long tests; they go on where they were stopped"
	@echo "make check      lint, format, types, the site"
	@echo "make docs       the documentation site, into site/"
	@echo "make audit      known vulnerabilities of the packages, and a bill of materials"
	@echo "make release-check  build, install and try a wheel, after an audit"
	@echo "make bench      the quick benchmarks"
	@echo "make setup      the environment alone ($(VENV))"
	@echo "make clean      remove the environment and what tools leave"

setup: $(STAMP)

# torch comes first and by itself, so that a machine that holds a CPU wheel of it takes that one
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt "torch==2.13.0"
	$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt --editable ".[dev]"
	$(BIN)/statim cache compile
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/statim demo

# DATA holds train/ and eval/; TEACHER is paraphrase-MiniLM-L3-v2, by hub name or path
TEACHER ?= paraphrase-MiniLM-L3-v2
english: $(STAMP)
	$(BIN)/python benchmarks/english.py $(DATA)/train --eval $(DATA)/eval --out out/english \
		--teacher all-MiniLM-L6-v2 --teacher $(TEACHER)
	$(BIN)/python benchmarks/league.py $(DATA)/eval --models english=out/english/english --peers \
		--out out/league > out/english/league.txt
	$(BIN)/python benchmarks/english.py --card out/english/english --scores out/english/league.txt
	rm -rf src/statim/models/english
	cp -r out/english/english src/statim/models/english

# tests/faults is named, so that its summary of figures is printed where the tests run on several workers
test: $(STAMP)
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile tests tests/faults

test-long: $(STAMP)
	mkdir -p out
	STATIM_SOAK=$(SOAK) STATIM_FIGURES=out/long.jsonl $(BIN)/python -m pytest -q -m long \
		-n $$(($(WORKERS) + 1)) --dist loadgroup tests tests/faults

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

audit: $(STAMP)
	$(PYTHON) .ci/audit.py $(BIN)/python dist

release-check: $(STAMP)
	rm -rf build dist
	$(PYTHON) .ci/audit.py $(BIN)/python dist
	$(BIN)/python -m build --sdist --outdir dist
	$(BIN)/statim cache compile --all
	$(BIN)/python -m build --wheel --outdir dist
	$(PYTHON) .ci/release_check.py dist

bench: $(STAMP)
	$(BIN)/python benchmarks/start_up.py
	$(BIN)/python benchmarks/training_step.py
	$(BIN)/python benchmarks/encode_against_peers.py --rounds 3
	$(BIN)/python benchmarks/train_against_sentence_transformers.py --rounds 1

clean:
	rm -rf $(VENV) build dist site .coverage src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis statim-demo
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
