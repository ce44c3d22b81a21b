# Every target makes what it needs first, the virtual environment included. The text after ## is what `make help` shows.

PYTHON ?= python3
SEEDS ?= 0-999
FUZZ_SECONDS ?= 60
WORKERS ?= 3
FILES ?= $(sort $(shell find tests/scripts -name '*.txt'))
VENV := .venv
CHECKOV := 3.3.30
BIN := $(VENV)/bin
PIP = $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable
AZURITE := $(VENV)/azurite
AZURITE_VERSION := 3.37.0
# The tests that must cover the core. Measuring coverage in the others would only cost time.
CORE_TESTS := tests/simulation/test_scripts.py tests/health/test_debounce.py \
  $(patsubst %,tests/controller/core/test_%.py,claims core differences records story trouble values)
# The programs that the tests start keep their compiled modules, whatever the caller's environment says.
export PYTHONDONTWRITEBYTECODE :=
TEST_PACKAGES := etcd-server haproxy iproute2 iputils-ping keepalived nftables procps tcpdump \
	dbus-daemon dnsmasq-base ifupdown isc-dhcp-client network-manager radvd systemd

.DEFAULT_GOAL := help
.PHONY: help demo test check core simulate fuzz mutants rewrite docs bench clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "%-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/demo.stamp ## Show a failover, a freeze and a switchover in network namespaces
	@$(BIN)/anyvip demo

# The checks and the downloads for the tests run at the same time. The tests follow.
test: ## Run all checks and all tests (WORKERS=3: how many processes)
	@$(MAKE) --no-print-directory -j4 --output-sync check core $(AZURITE).stamp $(VENV)-checkov/stamp
	@.ci/packages $(TEST_PACKAGES)
	@$(BIN)/python -m pytest -n $(WORKERS) $(CORE_TESTS:%=--ignore=%)

check: $(VENV)/dev.stamp ## Run the linters, the type checker and the import rules
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

core: $(VENV)/dev.stamp ## Test the pure core and require that the tests reach every branch of it
	@$(BIN)/python -m pytest --cov --cov-config=.ci/coverage.ini --cov-report=term-missing $(CORE_TESTS)

simulate: $(VENV)/dev.stamp ## Run one simulated cluster per seed (SEEDS=0-999); print the story of a seed that fails
	@$(BIN)/python -m tests.simulation --seeds $(SEEDS)

fuzz: $(VENV)/dev.stamp ## Look for inputs that break the decoders and the core (FUZZ_SECONDS=60); keep those that reach new code
	@$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS)

mutants: $(VENV)/dev.stamp ## Remove every rule, one at a time; name what catches each, and fail on a survivor
	@.ci/packages iproute2 nftables
	@$(BIN)/python -m tests.mutants

rewrite: $(VENV)/dev.stamp ## Rewrite the golden stories from what the simulator sees now (FILES=... for some)
	@$(BIN)/python -m tests.simulation.script $(FILES)

docs: $(VENV)/dev.stamp ## Rewrite the pages and sections that are generated from the code
	@$(BIN)/python docs/diagram.py
	@$(BIN)/python docs/quotes.py
	@$(BIN)/python docs/costs.py
	@$(BIN)/python docs/timeline.py
	@$(BIN)/python -m tests.lab.terraform.tables

bench: $(VENV)/dev.stamp ## Measure failovers beside keepalived (ARGS='--lease 3 ...')
	@.ci/packages etcd-server iproute2 keepalived
	@$(BIN)/python -m bench.failover $(ARGS)

# checkov has an environment of its own, because its dependencies conflict with ours. Where pip cannot install it, its
# test is skipped.
$(VENV)-checkov/stamp: Makefile | $(BIN)/python
	@test -x $(VENV)-checkov/bin/python || $(PYTHON) -m venv $(VENV)-checkov
	@$(VENV)-checkov/bin/pip install --quiet --disable-pip-version-check --no-compile checkov==$(CHECKOV) && touch $@ || \
		echo "checkov cannot be installed" >&2

clean: ## Remove what the other targets made
	rm -rf $(VENV) $(VENV)-checkov build dist .coverage .*_cache

# Azurite emulates Azure's blob storage. Where npm is missing or cannot fetch it, the tests that need it are skipped.
$(AZURITE).stamp: Makefile | $(BIN)/python
	@if command -v npm >/dev/null && \
	  npm install --silent --no-fund --no-audit --prefix $(AZURITE) azurite@$(AZURITE_VERSION); \
	then touch $@; else echo "no Azurite: the tests that need it are skipped" >&2; fi

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
