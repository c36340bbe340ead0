# detctl: `make demo` and `make test` do all their set-up on a machine with Python 3.11, make and gcc.
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
WORKERS ?= $(shell echo $$(( $$(nproc) + 1 )))# of the suite: one more than cores, since tests also wait

# In place of pip, which takes one core, and less the half that nothing here imports. Some packages bring templates that are no
# Python: they stay as they are.
UNUSED := /(kubernetes/aio|transformers/models|sympy/physics|pip|tests?)/
COMPILE = @$(BIN)/python -m compileall -qq -j 0 -x '$(UNUSED)' $(VENV)/lib || true
unexport PYTHONDONTWRITEBYTECODE # else each of the suite's processes would compile our packages for itself

.PHONY: help demo compose-demo test lint types audit-deps sbom stubs bench gpu zoo soak fuzz clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(VENV)/.demo: pyproject.toml hatch_build.py agent/detctl_probe/digest/kernel/n6.c
	@echo "setting up $(VENV): torch and torchvision are several GB, once"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --no-compile --editable '.[all,demo]'
	$(COMPILE)
	touch $@

$(VENV)/.dev: $(VENV)/.demo
	$(BIN)/pip install --quiet --no-compile --editable '.[dev]'
	$(COMPILE)
	touch $@

demo: $(VENV)/.demo ## two machines and an emulated CPU on the embedded store, and two verdicts
	@PATH="$(CURDIR)/$(BIN):$$PATH" examples/demo.sh

test: $(VENV)/.dev ## the whole test suite
	$(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 4 --dist loadfile --no-loadscope-reorder --durations 15

lint: $(VENV)/.dev ## ruff and the import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PYTHONPATH=proto:agent:coordinator:cli $(BIN)/lint-imports

types: $(VENV)/.dev ## mypy --strict
	$(BIN)/mypy

# --strict: what could not be asked about fails; else a service that knows nothing reads as "no known vulnerabilities".
audit-deps: $(VENV)/.dev ## asks whether an installed package has a known vulnerability (needs the network)
	@mkdir -p dist
	$(BIN)/python -m pip freeze --exclude-editable >dist/installed.txt
	$(BIN)/pip-audit --strict --vulnerability-service osv --disable-pip --no-deps -r dist/installed.txt

sbom: $(VENV)/.dev ## what is installed, as CycloneDX: dist/sbom.cdx.json
	@mkdir -p dist
	$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --of JSON -o dist/sbom.cdx.json $(BIN)/python

stubs: ## regenerates the stubs; the diff must be empty
	proto/regenerate.sh
	git diff --exit-code -- proto

compose-demo: ## two Debian releases in containers, and a verdict (needs Docker)
	@deploy/compose/demo.sh

bench: $(VENV)/.dev ## every benchmark; prints ratios measured in one run
	@for file in benchmarks/[a-z]*.py; do echo "== $$file"; $(BIN)/python "$$file" || exit 1; done

GPU_PYTHON ?= python3# the machine's own, whose torch has its CUDA: nothing is installed
gpu: ## is this GPU machine ready? Measures everything in under eight minutes (docs/gpu.md)
	$(GPU_PYTHON) benchmarks/gpu/acceptance.py

zoo: $(VENV)/.dev ## training scripts with planted causes, through the command line: a table of verdicts
	$(BIN)/python tests/zoo/run_zoo.py --explain

soak: $(VENV)/.dev ## long tests
	$(BIN)/python -m pytest -m soak --timeout 7200

fuzz: $(VENV)/.dev ## each parser of what others send, for FUZZ_S seconds (30): a table of inputs and crashes
	$(BIN)/python tests/fuzz/run_fuzz.py

clean: ## all that was made here
	rm -rf $(VENV) .cache .demo dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
