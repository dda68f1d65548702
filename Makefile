# Two commands do all the set-up: `make demo` and `make test`. Both install into .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
UV := $(BIN)/uv

DATA ?=
LEAGUES ?=
HOME_DIR ?=
ARGS ?=

.PHONY: setup demo up kafka test lint proto lock clean help

help:
	@echo "make demo [DATA=folder] [LEAGUES=E0,SP1]   from raw odds to a served, evaluated model, then stop"
	@echo "make up                                    keep the platform up (Ctrl-C stops it)"
	@echo "make kafka                                 Apache Kafka on this machine (Java 17, Maven; Ctrl-C stops it)"
	@echo "make test                                  lint, types, import rules and the whole test suite"
	@echo "make setup                                 only install, into .venv"

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python >= 3.11 and < 3.14 is needed, this is %d.%d: set PYTHON=python3.11" % sys.version_info[:2] if not (3, 11) <= sys.version_info[:2] < (3, 14) else 0)'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(UV) pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.lock
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

setup: $(STAMP)

demo: setup
	@$(BIN)/betting demo $(if $(DATA),--data "$(DATA)") $(if $(LEAGUES),--leagues "$(LEAGUES)") $(ARGS)

up: setup
	@$(BIN)/betting up $(ARGS)

kafka: setup
	@$(BIN)/python -m betting_assets.embedded.apache_kafka $(ARGS)

lint: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

test: lint
	@$(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder $(ARGS)

proto: setup
	@$(BIN)/python -m bentos.match_odds.proto.generate

lock:
	$(UV) pip compile --universal --python-version 3.11 --extra dev --generate-hashes --no-emit-index-url --quiet pyproject.toml -o requirements.lock

clean:
	rm -rf $(VENV) .betting reports
