# The whole vocabulary of this tree. Every target fetches what it needs on its own; see scripts/setup.py.

PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
SETUP = $(or $(PYTHON),$(error Landbridge needs Python 3.11 or newer. Install it, then run make again)) scripts/setup.py
RUN = .venv/bin/python -m
T ?= tests
# Most tests wait for processes and clocks more than they work, so that three share two cores well.
SIDE_BY_SIDE = -n 3 --dist worksteal

# What is compiled is kept, whatever the shell says: hundreds of processes start in the tests, twice as fast with it.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo dev check test bench soak docs clean

##@ Start here

help: ## List what make can do
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## Connect a OneDrive account of the local sandbox and call it (ONCE=1 ends by itself)
	@$(SETUP) packages sdk
	@$(RUN) examples.demo

##@ While working

dev: ## Serve this tree beside the sandbox, starting anew when a file changes
	@$(SETUP) packages sdk
	@$(RUN) examples.dev

check: ## Look without running: style, format, types, the layer contract (under 15 s)
	@$(SETUP) packages
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy
	@.venv/bin/lint-imports --no-logo

test: ## Run every test, or those in one place: make test T=tests/unit
	@$(SETUP) packages sdk chromium
	-@$(SETUP) nginx wrk # for the benchmarks' short form, which is skipped on machines that have no Debian packages
	-@$(SETUP) rclone # Debian's old ones; their tests are skipped, and say so, where these cannot be had
	-@$(SETUP) onedrive
	-@$(SETUP) stores # for file contents in S3 and Azure; their tests are skipped, and say so, where these cannot be had
	@$(RUN) pytest $(if $(filter tests,$(T)),$(SIDE_BY_SIDE)) $(T)

docs: ## Write the generated parts of docs/reference anew
	@$(SETUP) packages
	@$(RUN) scripts.reference

##@ Before a release

bench: ## Measure against nginx and rclone in the same run, and write build/bench.json
	@$(SETUP) packages nginx wrk
	@$(RUN) tests.bench

soak: ## Judge every action, kill workers at every point of a run, then an hour of use on a bad day at Microsoft (MINUTES=5)
	@$(SETUP) packages
	@$(RUN) pytest tests/conformance
	@EVERY_FRAGMENT=1 $(RUN) pytest tests/integrations/onedrive/test_transfers.py
	@CRASH_EVERYWHERE=1 $(RUN) pytest tests/crash
	@$(RUN) scripts.soak

clean: ## Remove everything that can be fetched or built again
	@rm -rf build dist .venv .tools .*_cache .hypothesis tests/acceptance/node_modules scripts/*/node_modules
	@find src tests scripts -name __pycache__ -prune -exec rm -rf {} +
