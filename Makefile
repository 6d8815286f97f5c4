# `make serve` runs a gateway, `make test` proves it. Both set up ./.venv with any Python from 3.11 on.
#   LISTEN=HOST:PORT   where `make serve` listens
#   WORKERS=N          processes that run tests at once; 0 runs them in one process
#   ARGS=…             more arguments for pytest, or for `drumlog serve`
#   PYTHON=…           the Python to use, instead of the first suitable one

LISTEN ?= 127.0.0.1:9092
WORKERS ?= 2
ARGS ?=
PYTHON ?=

VENV := .venv
BIN := $(VENV)/bin
SET_UP := PYTHON='$(PYTHON)' .ci/set-up
DATA := $(CURDIR)/drumlog-data

# An old librdkafka cannot share an environment with a new one. It has wheels for Python 3.11 and no later one.
OLD := compat-tests/confluent_kafka_2_0_2
OLD_VENV := .venv-old
OLD_LEFT_OUT = $(if $(wildcard $(OLD_VENV)/.set-up),,$(OLD))

# Folders of compat-tests/ whose clients need another tool chain than Python's.
CLIENTS := kcat

.PHONY: help serve test test-clients checks lint format docs lock clean
.NOTPARALLEL:

help:
	@echo 'make serve         set up, then run a gateway on $(LISTEN) with its data in ./drumlog-data'
	@echo 'make test          set up, then run all checks and tests that need Python alone'
	@echo 'make test-clients  set up, then run the tests of clients that need other tool chains: $(CLIENTS)'
	@echo 'make format        put the sources in order'
	@echo 'make docs          write the pages that are drawn from tables'
	@echo 'make lock          choose the versions of the dependencies anew'
	@echo 'make clean         remove what the set-up and the tests made; ./drumlog-data stays'

serve: $(VENV)/.set-up
	@exec $(BIN)/drumlog serve --listen $(LISTEN) --store 'file://$(DATA)/objects' --meta 'sqlite://$(DATA)/meta.db' $(ARGS)

test: $(VENV)/.set-up-tests $(OLD_VENV)/.set-up
	@.ci/summary 'make test' $(MAKE) --no-print-directory checks

checks:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict
	$(BIN)/lint-imports
	$(BIN)/pytest -n $(WORKERS) $(CLIENTS:%=--ignore=compat-tests/%) $(OLD_LEFT_OUT:%=--ignore=%) \
		--junit-xml=$(VENV)/results.xml $(ARGS)
	@test -z '$(OLD_LEFT_OUT)' || echo 'left out: $(OLD), which needs Python 3.11, and there is none on the PATH'

test-clients: $(VENV)/.set-up-tests
	@.ci/require-clients $(CLIENTS)
	@.ci/summary 'make test-clients' $(BIN)/pytest $(CLIENTS:%=compat-tests/%) --junit-xml=$(VENV)/results.xml $(ARGS)

lint: $(VENV)/.set-up-tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict
	$(BIN)/lint-imports

format: $(VENV)/.set-up-tests
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.set-up
	$(BIN)/drumlog settings > docs/operations/settings.md

LOCK := $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--custom-compile-command 'make lock'
lock: $(VENV)/.set-up-tests
	$(LOCK) -o requirements.lock pyproject.toml
	$(LOCK) -o requirements-dev.lock -c requirements.lock --group dev --group build pyproject.toml
	$(LOCK) -o requirements-build.lock -c requirements-dev.lock --group build
	echo 'confluent-kafka==2.0.2' | $(LOCK) -o $(OLD)/requirements.lock -

clean:
	rm -rf $(VENV) $(OLD_VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist

$(VENV)/.set-up: requirements.lock requirements-build.lock pyproject.toml .ci/set-up
	@$(SET_UP) $(VENV) requirements.lock requirements-build.lock --with-drumlog
	@touch $@

$(VENV)/.set-up-tests: requirements-dev.lock $(VENV)/.set-up
	@$(SET_UP) $(VENV) requirements-dev.lock
	@touch $@

# Where there is no Python 3.11 (exit code 3) nothing is made, and `make test` says so each time.
$(OLD_VENV)/.set-up: $(OLD)/requirements.lock .ci/set-up
	@PYTHON_EXACTLY=3.11 .ci/set-up $(OLD_VENV) $(OLD)/requirements.lock && touch $@ || test $$? = 3
