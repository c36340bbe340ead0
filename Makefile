# `make demo` and `make test` do all their set-up on a machine with Python 3.11, make and gcc.
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
WORKERS ?= $(shell echo $$(( $$(nproc) + 1 )))# of the test suite: one more than cores, because tests also wait

# Compiles packages on all cores (pip uses one), except the half that nothing here imports. Some packages have templates that are not
# valid Python; these are skipped.
UNUSED := /(kubernetes/aio|transformers/models|sympy/physics|pip|tests?)/
COMPILE = @$(BIN)/python -m compileall -qq -j 0 -x '$(UNUSED)' $(VENV)/lib || true
unexport PYTHONDONTWRITEBYTECODE # otherwise each test process would compile our packages again

.PHONY: help demo compose-demo test lint types audit-deps sbom stubs docs bench gpu zoo field soak fuzz clean

help: ## Prints this list.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(VENV)/.demo: pyproject.toml hatch_build.py agent/detctl_probe/digest/kernel/n6.c
	@echo "Setting up $(VENV). This downloads several GB of torch and torchvision, once."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --no-compile --editable '.[all,demo]'
	$(COMPILE)
	touch $@

$(VENV)/.dev: $(VENV)/.demo
	$(BIN)/pip install --quiet --no-compile --editable '.[dev]'
	$(COMPILE)
	touch $@

demo: $(VENV)/.demo ## Audits two machines and an emulated CPU on the embedded store, and prints two verdicts.
	@PATH="$(CURDIR)/$(BIN):$$PATH" examples/demo.sh

test: $(VENV)/.dev ## Runs the whole test suite.
	$(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 4 --dist loadfile --no-loadscope-reorder --durations 15

lint: $(VENV)/.dev ## Runs ruff and checks the import rules.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PYTHONPATH=proto:agent:coordinator:cli $(BIN)/lint-imports

types: $(VENV)/.dev ## Runs mypy --strict.
	$(BIN)/mypy

# --strict fails if a package could not be checked. Otherwise a service without data would look like "no known vulnerabilities".
audit-deps: $(VENV)/.dev ## Checks the installed packages for known vulnerabilities. Needs the network.
	@mkdir -p dist
	$(BIN)/python -m pip freeze --exclude-editable >dist/installed.txt
	$(BIN)/pip-audit --strict --vulnerability-service osv --disable-pip --no-deps -r dist/installed.txt

sbom: $(VENV)/.dev ## Writes the list of installed packages as CycloneDX: dist/sbom.cdx.json.
	@mkdir -p dist
	$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --of JSON -o dist/sbom.cdx.json $(BIN)/python

# Each warning is an error: a link or an anchor that does not exist, a page that is not in the navigation.
docs: $(VENV)/.dev ## Builds the documentation site in dist/docs.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

stubs: ## Regenerates the stubs, and fails if they change.
	proto/regenerate.sh
	git diff --exit-code -- proto

compose-demo: ## Audits two Debian releases in containers. Needs Docker.
	@deploy/compose/demo.sh

bench: $(VENV)/.dev ## Runs every benchmark, and prints ratios measured in one run.
	@for file in benchmarks/[a-z]*.py; do echo "== $$file"; $(BIN)/python "$$file" || exit 1; done

GPU_PYTHON ?= python3# the machine's own Python, whose torch has CUDA; nothing is installed
gpu: ## Checks whether this GPU machine is ready, in less than eight minutes (docs/gpu.md).
	$(GPU_PYTHON) benchmarks/gpu/acceptance.py

zoo: $(VENV)/.dev ## Audits training scripts with planted causes, and prints a table of verdicts.
	$(BIN)/python tests/zoo/run_zoo.py --explain

field: $(VENV)/.dev ## Audits trainings rebuilt from public bug reports, and prints how many verdicts are right, abstain and are wrong.
	$(BIN)/python tests/field/run_field.py -j $$(nproc)

soak: $(VENV)/.dev ## Runs the long tests.
	$(BIN)/python -m pytest -m soak --timeout 7200

fuzz: $(VENV)/.dev ## Fuzzes each parser of foreign data for FUZZ_S seconds (30), and prints a table of inputs and crashes.
	$(BIN)/python tests/fuzz/run_fuzz.py

clean: ## Removes everything that make created.
	rm -rf $(VENV) .cache .demo dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
