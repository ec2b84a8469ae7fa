# Every target does all the set-up it needs. `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all lint format bench docs serve lock clean

VENV := .venv
BIN := $(VENV)/bin
# What running needs; .ready-test and so on are what a group of pyproject.toml needs beyond that.
READY := $(VENV)/.ready
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-annotate --no-header
# One more than there are cores, as many tests wait for servers and processes; in the order of tests/conftest.py, as
# the longest groups have the fewest tests and would all come last.
TESTING := -n $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1) --dist loadgroup --no-loadscope-reorder

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## the virtual environment and the system's libraries, as far as running needs them

$(READY): requirements.lock pyproject.toml deployments/setup.sh deployments/install_packages.py
	@sh deployments/setup.sh $(VENV)
	@touch $@

$(READY)-%: requirements-%.lock $(READY)
	@$(BIN)/python deployments/install_packages.py $<
	@touch $@

demo: $(READY) ## the main job on the simulated router: import, measure, optimize, deliver
	@$(BIN)/routewatch demo

test: $(READY)-test ## the tests of all that a change can break
	@$(BIN)/python -m pytest $(TESTING) -m "not slow"

test-all: test ## those and the others: what only a release needs
	@$(BIN)/python -m pytest $(TESTING) -m slow

lint: $(READY)-test ## style, types and the direction of imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

format: $(READY)-test ## lay the code out as `make lint` wants it
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(READY)-test $(READY)-bench ## ratios against peers, in one run; BENCH="--rows 1M --only fold" for less
	@$(BIN)/python -m benchmarks $(BENCH)

docs: $(READY)-docs ## the documentation as a site, in site/
	@$(BIN)/zensical build --strict

serve: $(READY) ## the timetable, with a Prefect server and its UI
	@$(BIN)/routewatch init
	@$(BIN)/routewatch serve

lock: $(READY)-uv ## the locks anew from pyproject.toml
	@# All in one resolution first, and each lock within it: so that no two of them want different versions.
	@$(COMPILE) --upgrade --group build --group test --group bench --group docs --group uv pyproject.toml \
		--output-file $(VENV)/all.lock
	@$(COMPILE) --upgrade --constraints $(VENV)/all.lock --group build pyproject.toml --output-file requirements.lock
	@for group in test bench docs uv; do \
		$(COMPILE) --upgrade --constraints $(VENV)/all.lock --group $$group --output-file requirements-$$group.lock || exit 1; \
	done

clean: ## everything that the other targets made
	rm -rf $(VENV) var site .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
