# What a person types. Every target sets up .venv by itself; `make help` lists them.

PY = .venv/bin/python
PYTEST = $(PY) -m pytest
# Processes that tests run in: one per core of a small machine.
JOBS ?= 2
ONLY ?=
ARGS ?=
# The test files of a folder: a folder without any is not a failure of pytest.
tests_in = $(wildcard tests/$(1)/test_*.py tests/$(1)/*/test_*.py)
FAST = unit property vectors

# A list of checks or tests is one line each, so that `make -k` shows all that fails.
.PHONY: help setup runner demo check check-format check-lint check-types check-imports check-rules test test-fast test-sim test-docs test-network test-namespaces test-browser test-interop long bench peers pictures clean
.DEFAULT_GOAL := help
# A later target of `make test` runs against what an earlier one left: never in parallel.
.NOTPARALLEL:

help:
	@echo "make demo            a guided tour: eight nodes on this machine (ARGS='--docs FOLDER -n N --keep')"
	@echo "make check           format, lint, types, import contracts, source rules"
	@echo "make test            the test suite; parts: test-fast test-sim test-docs test-network test-namespaces test-browser test-interop"
	@echo "make long            kill campaigns, soaks, sweeps (ONLY=name; resumes; FRESH=1 starts over)"
	@echo "make bench           benchmarks beside other programs (ONLY=name), table and build/bench.json"
	@echo "make runner          what rules of apps run in, once per machine: about a minute (make setup does it, too)"
	@echo "make peers           foreign programs for interop tests and benchmarks, into build/peers"
	@echo "make pictures        the pictures of docs/pictures, from a real network (needs Chromium)"

# The runner of apps is made once per machine; without it a node makes it, and tests do.
setup:
	@sh scripts/bootstrap.sh
	@$(PY) -m dms3.io.runner_cache >/dev/null || true

runner:
	@sh scripts/bootstrap.sh
	@$(PY) -m dms3.io.runner_cache >/dev/null

demo: setup
	@.venv/bin/dms3 demo $(ARGS)

check: check-format check-lint check-types check-imports check-rules

check-format: setup
	$(PY) -m ruff format --check .

check-lint: setup
	$(PY) -m ruff check .

check-types: setup
	$(PY) -m mypy

check-imports: setup
	.venv/bin/lint-imports --no-logo

check-rules: setup
	$(PYTEST) -q tests/unit/test_source_rules.py tests/unit/test_import_contracts.py

test: test-fast test-sim test-docs test-network test-namespaces test-browser test-interop

test-fast: setup
	$(PYTEST) -q -n $(JOBS) --dist worksteal $(addprefix tests/,$(FAST)) $(ARGS)

test-sim: setup
	$(if $(call tests_in,sim),$(PYTEST) -q -n $(JOBS) --dist worksteal tests/sim $(ARGS),@echo "no tests in tests/sim")

test-docs: setup
	$(if $(call tests_in,docs),$(PYTEST) -q -n $(JOBS) --dist worksteal tests/docs $(ARGS),@echo "no tests in tests/docs")

test-network: setup
	$(if $(call tests_in,network),$(PYTEST) -q -n $(JOBS) --dist worksteal tests/network $(ARGS),@echo "no tests in tests/network")

# Networks of their own on this machine; needs iproute2 and nftables, and is skipped without.
test-namespaces: setup
	$(if $(call tests_in,namespaces),$(PYTEST) -q tests/namespaces $(ARGS),@echo "no tests in tests/namespaces")

test-browser: setup
	$(if $(call tests_in,browser),$(PYTEST) -q -n $(JOBS) --dist worksteal tests/browser $(ARGS),@echo "no tests in tests/browser")

test-interop: setup
	$(if $(call tests_in,interop),$(PYTEST) -q -n $(JOBS) --dist worksteal tests/interop $(ARGS),@echo "no tests in tests/interop")

long: setup
	@$(PY) scripts/long.py $(if $(ONLY),--only '$(ONLY)') $(if $(FRESH),--fresh)

bench: setup
	@$(PY) benchmarks/run.py $(ONLY)

peers: setup
	@sh scripts/peers.sh

pictures: setup
	@$(PY) scripts/pictures.py

clean:
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
