# `make demo` and `make test` are all that is needed: they make the virtual environment themselves.

PYTHON ?= python3
SEEDS ?= 0-999
WORKERS ?= 3
VENV := .venv
CHECKOV := 3.3.30
BIN := $(VENV)/bin
PIP = $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable
AZURITE := $(VENV)/azurite
AZURITE_VERSION := 3.37.0
# What the core's coverage must come from. Elsewhere, measuring it would only cost time.
CORE_TESTS := tests/simulation/test_scripts.py tests/controller/core tests/health/test_debounce.py
# Whatever the environment says: what the tests start is not to be compiled each time.
export PYTHONDONTWRITEBYTECODE :=
TEST_PACKAGES := etcd-server haproxy iproute2 iputils-ping keepalived nftables procps tcpdump

.PHONY: demo test check core simulate bench clean

demo: $(VENV)/demo.stamp
	@$(BIN)/anyvip demo

# Everything that is checked, cheapest first; what is downloaded meanwhile is for the tests.
test:
	@$(MAKE) --no-print-directory -j4 --output-sync check core $(AZURITE).stamp $(VENV)-checkov/stamp
	@.ci/packages $(TEST_PACKAGES)
	@$(BIN)/python -m pytest -n $(WORKERS) $(CORE_TESTS:%=--ignore=%)

check: $(VENV)/dev.stamp
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

# The pure core, and that its tests reach every branch of it.
core: $(VENV)/dev.stamp
	@$(BIN)/python -m pytest --cov --cov-config=.ci/coverage.ini --cov-report=term-missing $(CORE_TESTS)

# One schedule per seed; prints the failing seed and its story.
simulate: $(VENV)/dev.stamp
	@$(BIN)/python -m tests.simulation --seeds $(SEEDS)

bench: $(VENV)/dev.stamp
	@.ci/packages etcd-server iproute2 keepalived
	@$(BIN)/python -m bench.failover $(ARGS)

# What checkov needs and what the tests need exclude each other. Where it cannot be had, its test is skipped.
$(VENV)-checkov/stamp: Makefile | $(BIN)/python
	@test -x $(VENV)-checkov/bin/python || $(PYTHON) -m venv $(VENV)-checkov
	@$(VENV)-checkov/bin/pip install --quiet --disable-pip-version-check --no-compile checkov==$(CHECKOV) && touch $@ || \
		echo "checkov cannot be installed" >&2

clean:
	rm -rf $(VENV) $(VENV)-checkov build dist .coverage .*_cache

# Azure's blob storage to test against. Where npm is missing or cannot fetch it, what needs it is skipped.
$(AZURITE).stamp: Makefile | $(BIN)/python
	@if command -v npm >/dev/null && \
	  npm install --silent --no-fund --no-audit --prefix $(AZURITE) azurite@$(AZURITE_VERSION); \
	then touch $@; else echo "no Azurite: what needs it is skipped" >&2; fi

$(VENV)/demo.stamp: pyproject.toml constraints.txt | $(BIN)/python
	@$(PIP) .
	@touch $@

$(VENV)/dev.stamp: pyproject.toml constraints.txt | $(BIN)/python
	@$(PIP) '.[dev]'
	@touch $(VENV)/demo.stamp $@

$(BIN)/python:
	@.ci/packages iproute2
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || .ci/packages python3-venv
	@$(PYTHON) -m venv $(VENV)
