# Everything runs in .venv, which is made on demand from $(PYTHON).
PYTHON ?= python3
PYTEST_ARGS ?=
# Processes that share the suite; 0: this one alone, for a debugger.
JOBS ?= 2
BENCH_ARGS ?=
METRICS_ARGS ?=
MUTANTS ?=
TIME ?= 60
# The least part of Thor's lines and branches that the suite covers, in percent.
COVERAGE_FLOOR := 97
CORPORA ?= ../shared/corpora

VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/.installed
# The build's tools are installed once and used without isolation, so that a later reinstall
# (after a change to pyproject.toml) asks the network for nothing that is already here.
INSTALL = $(BIN)/python -m pip install --quiet --no-build-isolation --editable

.DEFAULT_GOAL := help
.PHONY: help venv demo test cover lint format type doc bench bench-udp bench-tls-soak bench-peers mutants metrics conformance corpora fuzz soak sanitize dist wheels clean

help: ## List every target
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) | \
	  awk -F'|' '{ printf "%-14s %s\n", $$1, $$2 }'

$(STAMPS)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Thor needs Python 3.11 or newer; say which: make PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet "setuptools>=77"
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/base: pyproject.toml setup.py thor/native/_codec.c $(STAMPS)/python
	$(INSTALL) .
	@$(BIN)/python -c 'import thor.native; thor.native.loaded or \
	  print("Thor runs here without its native codec: slower, and else the same")'
	@touch $@

$(STAMPS)/test $(STAMPS)/doc $(STAMPS)/dev: $(STAMPS)/%: pyproject.toml $(STAMPS)/base
	$(INSTALL) '.[$*]'
	@touch $@

venv: $(STAMPS)/dev ## Make .venv with everything that working on Thor needs

demo: $(STAMPS)/base ## Start the demo: two origins, and the proxy in front of them
	@$(BIN)/thor demo

test: $(STAMPS)/test ## Run the whole suite (PYTEST_ARGS=..., JOBS=2); names what it skips
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -rs --no-fold-skipped $(PYTEST_ARGS)

# The floor holds for the whole suite, not for a part that PYTEST_ARGS names.
cover: $(STAMPS)/test ## Run the suite, show the lines that no test reaches; fail if it covers less than before
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -rs --no-fold-skipped --cov --cov-report=term \
	  $(if $(PYTEST_ARGS),,--cov-fail-under=$(COVERAGE_FLOOR)) $(PYTEST_ARGS)

lint: $(STAMPS)/dev ## Check style, format and spelling, the hosted workflow, and what wheels are configured
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@for platform in linux macos; do \
	  $(BIN)/cibuildwheel --platform $$platform --print-build-identifiers >/dev/null || exit 1; done

format: $(STAMPS)/dev ## Rewrite the source in the format that make lint checks
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# A user's environment: Thor as its wheel installs it. The program is checked in a folder of its own,
# since both tools look for the configuration of a project above it.
USER_ENV := $(VENV)/user
$(STAMPS)/user: $(shell find thor -name '*.py' -o -name '*.pyi' -o -name py.typed) $(STAMPS)/dev
	rm -rf $(USER_ENV)
	$(BIN)/python -m venv --without-pip $(USER_ENV)
	THOR_NO_EXTENSIONS=1 THOR_BUILD_EXTENSIONS= \
	  $(BIN)/python -m build --no-isolation --outdir $(USER_ENV)/dist >/dev/null
	$(BIN)/python -m pip --python $(USER_ENV)/bin/python install --quiet --no-index --no-deps \
	  $(USER_ENV)/dist/*.whl
	@touch $@

type: $(STAMPS)/user ## Check types: Thor and its tests with mypy --strict; a user's program with mypy and pyright
	$(BIN)/mypy
	@set -e; folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	  cp test/typing/program.py "$$folder"; echo '{}' >"$$folder/pyrightconfig.json"; \
	  bin=$(abspath $(BIN)); user=$(abspath $(USER_ENV))/bin/python; cd "$$folder"; set -x; \
	  "$$bin/mypy" --strict --config-file= --python-executable "$$user" program.py; \
	  "$$bin/pyright" --warnings --pythonpath "$$user" program.py

doc: $(STAMPS)/doc ## Build the documentation into doc/_build/html; a warning is an error
	$(BIN)/python -m sphinx -W --keep-going -q -b html doc doc/_build/html

bench: $(STAMPS)/base ## Measure Thor against its peers (BENCH_ARGS="--help" for the choices)
	$(BIN)/python -m bench.run $(BENCH_ARGS)

bench-udp: $(STAMPS)/base ## Measure UDP echo against asyncio (BENCH_ARGS="--help" for the choices)
	$(BIN)/python -m bench.udp $(BENCH_ARGS)

bench-tls-soak: $(STAMPS)/test ## Make 10,000 TLS handshakes, and see what they leave behind
	$(BIN)/python -m bench.tls_soak $(BENCH_ARGS)

bench-peers: $(STAMPS)/base ## Install the peers of the benchmark: into build/peers, and by apt-get
	$(BIN)/python -m bench.peers install

mutants: $(STAMPS)/test ## Break Thor in one place after the other; its tests must notice (MUTANTS="FILTER ...")
	$(BIN)/python test/mutants/mutate.py $(MUTANTS)

metrics: $(STAMPS)/python ## Describe the source by figures: sizes, encapsulation, types, tests
	@$(BIN)/python -m bench.metrics $(METRICS_ARGS)

conformance: $(STAMPS)/python ## Write doc/conformance.rst anew from the tables of test/conformance
	$(BIN)/python test/conformance/page.py

corpora: $(STAMPS)/test ## Run the message corpora of other parsers (CORPORA=DIR)
	@test -d "$(CORPORA)" || { echo "no such folder: $(CORPORA); say which: make corpora CORPORA=DIR" >&2; exit 1; }
	THOR_CORPORA="$(abspath $(CORPORA))" $(BIN)/python -m pytest -m corpora -rA $(PYTEST_ARGS)

$(STAMPS)/fuzz: pyproject.toml $(STAMPS)/base
	@$(INSTALL) '.[fuzz]' || { echo "atheris, which make fuzz needs, cannot be installed for" \
	  "$$($(BIN)/python --version): try another one, with PYTHON=... after make clean" >&2; exit 1; }
	@touch $@

fuzz: $(STAMPS)/fuzz ## Fuzz HTTP, guided by coverage, for TIME=60 seconds; finds go to build/fuzz/finds
	$(BIN)/python test/fuzz/fuzzer.py --time $(TIME)

sanitize: $(STAMPS)/test ## Run the native codec under AddressSanitizer, UBSan and valgrind
	PYTHON=$(BIN)/python .ci/sanitize

# TIME stands for both: here it is ten minutes unless somebody has said another.
soak: $(STAMPS)/test ## Mixed traffic and slow clients for TIME=600 seconds, with a ledger of every request
	$(BIN)/python test/soak/soak.py --time $(if $(filter file,$(origin TIME)),600,$(TIME))

dist: $(STAMPS)/dev ## Build the source archive and the wheel into dist/, and check both
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	$(BIN)/twine check --strict dist/*

wheels: $(STAMPS)/dev ## Build the wheels of a release for this platform into dist/wheels (Linux: Docker)
	$(BIN)/cibuildwheel --output-dir dist/wheels

clean: ## Remove everything that was made here
	rm -rf $(VENV) build dist doc/_build thor/native/*.so *.egg-info .coverage .coverage.* htmlcov \
	  .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find thor test bench doc examples -name __pycache__ -type d -prune -exec rm -rf {} +
