# `make demo` and `make test` need Python 3.11 or newer and make, and nothing else. Everything goes into .venv.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
SECONDS ?= 90
PYTEST ?=

.PHONY: help install demo test lint coverage kernels packaged integration programs in-process unit bench aging quality faults
.PHONY: jars pages guides served learning api connections picture wheel lock neural clean
.PHONY: docs docs-look reference reference-examples

help:
	@echo "make install              the environment in .venv, from the locked versions"
	@echo "make demo [SECONDS=90]    watch a shop learn"
	@echo "make test [PYTEST=...]    ruff, mypy, every test"
	@echo "make lint                 ruff, its formatter as a check, and mypy alone"
	@echo "make coverage             lines that the last make test ran, file by file"
	@echo "make faults [MINUTES=2]   the tests that kill, pause and restart things, on a real Kafka and Redis"
	@echo "make connections          every kind of secured Kafka and Redis, and storms over them"
	@echo "make api [API_EXAMPLES=80] many requests made from the server's own OpenAPI document; SEED=... repeats them"
	@echo "make bench                events per second beside baselines (benchmarks/README.md lists more)"
	@echo "make aging [AGING=...]    a year in one model, in simulated time, beside a model that begins with its last month"
	@echo "make quality DATA=folder  hit rates on the event streams in a folder"
	@echo "make neural               install PyTorch (gigabytes) and test the comparison with neural models"
	@echo "make docs                 the documentation in build/docs"
	@echo "make reference            write the generated parts of the reference from the code"
	@echo "make picture              record the README's moving picture from a run of the demo"
	@echo "make lock                 lock the newest versions that pyproject.toml allows"

install: .venv/installed

.venv/installed: pyproject.toml requirements-build.lock requirements-dev.lock
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] + ": make PYTHON=python3.11 ...")'
	@echo "installing into .venv (once)"
	@$(PYTHON) -m venv .venv
	@$(PIP) install --no-compile --require-hashes --requirement requirements-build.lock
	@$(PIP) install --no-compile --require-hashes --requirement requirements-dev.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

demo: install
	@$(BIN)/corrente demo --seconds $(SECONDS)

# Every test, in eight parts; some tests alone with PYTEST="tests/... -k ...". Four parts run at a time on two cores:
# two start programs and wait half of their time, and two compute whenever those do.
# Kernels are compiled by one process, while the linters run, Maven downloads Kafka and the tests of pages run, which call
# two of them: all later processes load what lies beside the modules, and no two of them compile the same kernels.
# `packaged` installs its environment meanwhile, and then waits for them.
# `integration` has a Kafka, `guides` are typed with another one, `programs` starts systems on the embedded broker and
# failovers of Redis, `learning` calls kernels all the time, and `in-process` is the rest. The longest begin first. Parts
# that compute leave the processor to those that wait for programs, which would last longest otherwise.
PARTS := pages packaged integration served guides in-process programs learning
YIELDING := nice -n 5
ifeq ($(strip $(PYTEST)),)
test: install
	rm -rf .cache/coverage
	$(MAKE) --jobs=4 --output-sync=line --keep-going FIRST="lint kernels jars" kernels lint jars $(PARTS)
	$(MAKE) coverage
else
test: lint
	$(BIN)/python -m pytest $(PYTEST)
endif

# What is missing is said by the tests that need it.
jars: install
	@$(BIN)/python -c "from benchmarks.harness.servers import missing_servers; missing_servers()"

kernels: install
	$(BIN)/python -m tests.compile_kernels

# Each part names its files, so that no part imports those of the others; `in-process` takes all that none of them names.
PACKAGED := tests/test_packaging.py
GUIDES := tests/docs/test_guides.py tests/integration/commands/test_guides.py tests/integration/commands/test_quickstart.py
INTEGRATION := tests/integration
PAGES := tests/docs/test_decisions.py tests/docs/test_operations.py tests/docs/test_reference.py tests/docs/test_site.py \
	tests/repository/test_guarantees.py tests/repository/test_habits.py tests/repository/test_map.py \
	tests/test_architecture.py tests/test_monitoring.py
CUSTOM := tests/stream/models/sources/test_custom.py
PROGRAMS := tests/connections tests/examples tests/simulators tests/stream/versions/storage/connection $(CUSTOM)
LEARNING := tests/stream/models tests/stream/evaluation tests/stream/shard tests/benchmarks
SERVED := tests/serving
MEASURED := $(BIN)/python -m coverage run -m pytest

pages: install
	$(YIELDING) $(MEASURED) $(PAGES) $(PYTEST)

packaged: install
	$(YIELDING) $(BIN)/python -m pytest -m packaging $(PACKAGED) $(PYTEST)

integration: install $(FIRST)
	$(MEASURED) $(INTEGRATION) $(addprefix --ignore=,$(GUIDES)) $(PYTEST)

guides: install $(FIRST)
	$(MEASURED) $(GUIDES) $(PYTEST)

programs: install $(FIRST)
	$(MEASURED) $(PROGRAMS) $(PYTEST)

served: install $(FIRST)
	$(YIELDING) $(MEASURED) $(SERVED) $(PYTEST)

learning: install $(FIRST)
	$(YIELDING) $(MEASURED) $(LEARNING) $(addprefix --ignore=,$(PROGRAMS)) $(PYTEST)

ELSEWHERE := $(PAGES) $(INTEGRATION) $(GUIDES) $(SERVED) $(PROGRAMS) $(LEARNING)
in-process: install $(FIRST)
	$(YIELDING) $(MEASURED) -m "not packaging" $(addprefix --ignore=,$(ELSEWHERE)) $(PYTEST)

# Share of the lines outside compiled functions that the last `make test` ran, and the floor (see pyproject.toml). Where
# servers are missing, tests of them are skipped, and the floor says nothing.
SERVERS := $(and $(shell command -v redis-server),$(shell command -v java),$(shell command -v mvn))
coverage:
	@$(BIN)/python -m coverage combine --quiet
	@$(BIN)/python -m coverage report $(if $(SERVERS),,--fail-under=0)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

unit: install
	$(BIN)/python -m pytest -m "not integration and not packaging and not slow" $(PYTEST)

# Tests of faults, a table of their numbers, and JSON as the last line. SEED=... repeats a run, MINUTES=30 lengthens the
# storm, PYTEST="-k storm" runs some of them.
faults: install
	@$(BIN)/python -m tests.run_faults $(PYTEST)

# Every kind of Kafka beside every kind of Redis, as a table. CELLS=all takes every pair of them, PYTEST="-k storm" some.
connections: install
	@CONNECTIONS=1 FAULTS=$${FAULTS:-/dev/null} $(BIN)/python -m pytest -v tests/connections $(PYTEST)

# Seeds are printed. The same tests with fewer requests are a part of `make test`.
api: install
	API_EXAMPLES=$${API_EXAMPLES:-80} $(BIN)/python -m pytest -q -s tests/serving/web/test_api.py $(PYTEST)

bench: install
	$(BIN)/corrente bench ingest

# A year of a shop in one model, in simulated time: AGING="--visitors 10000000 --events 300000000" makes it larger.
AGING ?=
aging: install
	$(BIN)/corrente bench aging $(AGING)

quality: install
	@test -n "$(DATA)" || { echo "name the folder of the event streams: make quality DATA=folder"; exit 2; }
	$(BIN)/corrente quality "$(DATA)"

picture: install
	$(BIN)/python -m simulators.recording docs/_static/demo.svg

# PyTorch stays out of the locks: no other test needs it, and which build is right depends on the machine.
neural: install
	$(PIP) install 'torch>=2'
	$(BIN)/python -m pytest tests/benchmarks/neural $(PYTEST)

# Warnings are errors, and every link within the documentation has to lead somewhere.
docs: install
	$(BIN)/sphinx-build -W -n --keep-going -q --jobs 2 -b html -d build/doctrees docs build/docs || { rm -rf build/doctrees; exit 1; }
	@echo "build/docs/index.html"

docs-look: docs
	$(BIN)/python -m docs.look build/docs build/docs-look

reference: install
	$(BIN)/python -m docs.generate

# Answers of a running application, which the page about HTTP shows.
reference-examples: install
	RECORD_EXAMPLES=1 $(BIN)/python -m pytest tests/serving/web/test_documented_examples.py
	$(BIN)/python -m docs.generate

wheel: install
	$(BIN)/python -m build --wheel --no-isolation

# Locks hold versions and hashes and no addresses: the machine that installs decides which index it uses.
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--custom-compile-command "make lock" --upgrade

lock: install
	$(PIP) install uv
	$(LOCK) pyproject.toml --extra embedded --output-file requirements.lock
	$(LOCK) pyproject.toml --extra avro --extra embedded --extra parquet --extra plot --extra protobuf --extra tune --group dev --output-file requirements-dev.lock
	$(LOCK) --group build --output-file requirements-build.lock

clean:
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
