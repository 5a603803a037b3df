# Everything that a person does with a clone. `make run` needs Python 3.11 or newer, nothing else.

export PYTHON ?= python3
VENV := .venv
ORACLES := .venv-oracles
TOOLS := .venv-tools
BIN := $(VENV)/bin
# Processes that share the tests out by file; 0: one after the other, as a debugger needs it. Two
# thirds of the time tests wait for what is real, so that three for each of two cores are busy.
TEST_PROCESSES ?= 6

COLLECT := $(BIN)/python -m pytest --collect-only -qq

# Of `make soak`.
MINUTES ?= 15
CLIENTS ?= 200
# Of `make restarts`: restarts of each kind.
TIMES ?= 20

# Of `make sbom`.
SBOM ?= sbom.json

# A stamp carries the hash of what it stands for, so a changed file installs anew and nothing else.
hash = $(shell cat $(1) | cksum | cut -d' ' -f1)
RUNTIME := $(VENV)/runtime-$(call hash,requirements.txt).stamp
DEV := $(VENV)/dev-$(call hash,requirements/dev.txt).stamp
ORACLE := $(ORACLES)/oracles-$(call hash,requirements/oracles*.txt).stamp
TOOL := $(TOOLS)/tools-$(call hash,requirements/tools.txt).stamp

.PHONY: run install test check bench fuzz soak restarts lock sbom audit clean services

# exec: the recipe's shell becomes the demo, so that whoever ends make ends the demo.
run: $(RUNTIME)
	@exec $(BIN)/python manage.py demo --with-parent

install: $(RUNTIME)

# What is compiled is kept, also where the environment says that nothing is: else each of the hundreds
# of processes that tests start compiles all of it again. And it is compiled before, by one process
# for each core: those that share the tests out begin at once, and would all compile the same.
test: export PYTHONDONTWRITEBYTECODE :=
test: $(DEV) $(ORACLE) services
	@$(BIN)/python -m compileall -q brokers openalgo_site pooling streaming
	@$(COLLECT) tests/unit > /dev/null & $(COLLECT) --ignore tests/unit > /dev/null; wait
	@exec $(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

check: $(DEV)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy .
	DATA_DIR=$$(mktemp -d) $(BIN)/python manage.py check
	DATA_DIR=$$(mktemp -d) $(BIN)/python manage.py makemigrations --check --dry-run
	@$(MAKE) --no-print-directory test

bench: $(DEV)
	@exec $(BIN)/python -m benchmarks

fuzz: $(DEV)
	@exec $(BIN)/python -m tests.fuzz

# Everything at once for MINUTES, with a verdict; REPORT names a folder for report, chart and logs.
soak: $(DEV) $(ORACLE) services
	@exec $(BIN)/python -m tests.soak --minutes $(MINUTES) --clients $(CLIENTS) \
		$(if $(REPORT),--report $(REPORT))

# Redis, PostgreSQL and the worker, each again and again under clients; KINDS names some of them.
restarts: $(DEV) services
	@exec $(BIN)/python -m tests.soak.restarts $(KINDS) --times $(TIMES) \
		$(if $(REPORT),--report $(REPORT))

# Writes requirements.txt and requirements/*.txt from the *.in beside them; keeps versions that are
# locked already, but for UPGRADE="NAME..." or UPGRADE=all.
lock: $(TOOL)
	@scripts/lock $(TOOLS)/bin/uv $(UPGRADE)

# In an environment of its own, since .venv may have the tests' packages too, and without pip in it.
sbom: $(TOOL)
	@$(PYTHON) -m venv --clear --without-pip $(TOOLS)/runtime
	@$(TOOLS)/bin/python -m pip --python $(TOOLS)/runtime install --quiet \
		--disable-pip-version-check --require-hashes --requirement requirements.txt
	@$(TOOLS)/bin/cyclonedx-py environment $(TOOLS)/runtime --output-reproducible \
		--output-file $(SBOM)
	@echo "$(SBOM) lists what make run installs, in CycloneDX"

# Asks a database of vulnerabilities on the internet, and says so where it cannot.
audit: $(TOOL)
	@scripts/audit $(TOOLS)/bin/pip-audit requirements.txt requirements/dev.txt

services:
	@scripts/install-test-services

clean:
	rm -rf $(VENV) $(ORACLES) $(TOOLS) .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(RUNTIME):
	@scripts/make-venv $(VENV) requirements.txt $@

$(DEV):
	@scripts/make-venv $(VENV) requirements/dev.txt $@

$(TOOL):
	@scripts/make-venv $(TOOLS) requirements/tools.txt $@

$(ORACLE):
	@scripts/make-venv $(ORACLES) requirements/oracles.txt $(ORACLES)/first.stamp
	@$(ORACLES)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
		--no-deps --ignore-requires-python --upgrade --target $(ORACLES)/openalgo2 \
		--requirement requirements/oracles-sdk2.txt
	@scripts/make-venv $(ORACLES)/brokers requirements/oracles-build.txt $(ORACLES)/build.stamp
	@scripts/make-venv $(ORACLES)/brokers requirements/oracles-brokers.txt \
		$(ORACLES)/brokers.stamp --no-build-isolation
	@touch $@
