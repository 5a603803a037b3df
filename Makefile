# Everything that a person does with a clone. `make run` needs Python 3.11 or newer, nothing else.

export PYTHON ?= python3
VENV := .venv
ORACLES := .venv-oracles
BIN := $(VENV)/bin
# Processes that share the tests out by file; 0: one after the other, as a debugger needs it.
TEST_PROCESSES ?= 2

# Of `make soak`.
MINUTES ?= 15
CLIENTS ?= 200
# Of `make restarts`: restarts of each kind.
TIMES ?= 20

# A stamp carries the hash of what it stands for, so a changed file installs anew and nothing else.
hash = $(shell cat $(1) | cksum | cut -d' ' -f1)
RUNTIME := $(VENV)/runtime-$(call hash,requirements.txt).stamp
DEV := $(VENV)/dev-$(call hash,requirements.txt requirements-dev.txt).stamp
ORACLE := $(ORACLES)/oracles-$(call hash,requirements-oracles*.txt).stamp

.PHONY: run install test check bench fuzz soak restarts clean services

# exec: the recipe's shell becomes the demo, so that whoever ends make ends the demo.
run: $(RUNTIME)
	@exec $(BIN)/python manage.py demo --with-parent

install: $(RUNTIME)

test: $(DEV) $(ORACLE) services
	@exec $(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile

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

services:
	@scripts/install-test-services

clean:
	rm -rf $(VENV) $(ORACLES) .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(RUNTIME):
	@scripts/make-venv $(VENV) requirements.txt $@

$(DEV):
	@scripts/make-venv $(VENV) requirements-dev.txt $@

$(ORACLE):
	@scripts/make-venv $(ORACLES) requirements-oracles.txt $(ORACLES)/first.stamp
	@$(ORACLES)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
		--ignore-requires-python --upgrade --target $(ORACLES)/openalgo2 \
		--requirement requirements-oracles-sdk2.txt
	@scripts/make-venv $(ORACLES)/brokers requirements-oracles-brokers.txt $(ORACLES)/brokers.stamp
	@touch $@
