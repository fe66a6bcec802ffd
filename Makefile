# make run        trains the quick preset into runs/quick
# make test       lint and all quick tests
# make test-all   the slow tests as well
# make bench      runs every benchmark and appends its JSON lines to benchmarks/results
# make clean      removes the environment and all caches; runs stay
#
# The first target called makes the environment .venv by itself, and again whenever requirements change. The project is
# installed in it (editable), so that its Python imports nrf and v1models from any folder.

SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
.DELETE_ON_ERROR:
.PHONY: run test test-all bench clean

VENV := .venv
STAMP := $(VENV)/.stamp
PYTHON := $(VENV)/bin/python
PYTHONS := python3.13 python3.12 python3.11 python3
# Test processes side by side; 0 runs all in one. A file's tests stay together, as they share what is slow to make, in
# the order that tests/conftest.py gives the files: long ones first.
WORKERS ?= 2
PYTEST := $(PYTHON) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

# An environment whose interpreter no longer starts (another Python, a moved folder) is made anew.
$(shell $(PYTHON) -c "import pip" >/dev/null 2>&1 || rm -f $(STAMP))

run: $(STAMP)
	$(PYTHON) launch.py --config=configs/nrflv.py --workdir=runs/quick

test: $(STAMP)
	$(PYTHON) -m ruff check .
	$(PYTEST) -m "not slow"

test-all: $(STAMP)
	$(PYTHON) -m ruff check .
	$(PYTEST)

bench: $(STAMP)
	@mkdir -p benchmarks/results
	@for script in benchmarks/*.py; do \
	  name=$$(basename $$script .py); echo "$$name"; \
	  PYTHONPATH=. $(PYTHON) $$script | tee -a benchmarks/results/$$name.jsonl || exit 1; \
	done

clean:
	rm -rf $(VENV) .cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): requirements.txt requirements-dev.txt pyproject.toml
	@for candidate in $(PYTHONS); do \
	  if $$candidate -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	    python=$$candidate; break; \
	  fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "No Python 3.11 or newer with venv was found (tried: $(PYTHONS)): install one, such as" \
	    "'apt install python3 python3-venv' or from python.org, and run make again." >&2; exit 1; \
	fi; \
	echo "Making $(VENV) with $$($$python --version)."; \
	$$python -m venv --clear $(VENV) && \
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -r requirements.txt -r requirements-dev.txt -e . || { \
	  echo "The packages of requirements.txt and requirements-dev.txt could not be installed: see pip's message" \
	    "above; without network access install them from a mirror and run make again." >&2; exit 1; \
	}
	@touch $@
