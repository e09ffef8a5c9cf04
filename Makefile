# Two commands: `make run` shows what netpersona does, `make test` proves it.  Both set everything up first.
.POSIX:
SHELL = /bin/sh
PYTHON = python3
BIN = .venv/bin

.PHONY: help setup setup-dev run test lint bench docs lock clean

help:
	@echo 'make setup   install netpersona into .venv (then .venv/bin/netpersona works)'
	@echo 'make run     tell the story: as root live in a lab of namespaces, else on generated traffic'
	@echo 'make test    check style and types, run every test'
	@echo 'make bench   measure speed and memory, as ratios'
	@echo 'make docs    write the generated pages of docs/ anew'
	@echo 'make lock    pin the dependencies anew'
	@echo 'make clean   remove what the others made'

setup:
	@PYTHON='$(PYTHON)' sh scripts/setup.sh requirements.lock

setup-dev:
	@PYTHON='$(PYTHON)' sh scripts/setup.sh requirements-dev.lock nft

run: setup
	@if [ "$$(id -u)" = 0 ]; then $(BIN)/netpersona demo --live; else $(BIN)/netpersona demo; fi

lint: setup-dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

test: lint
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile || { [ $$? = 1 ] && \
	echo "What failed beside the others, once more by itself; what passes now depends on load, and wants mending:" && \
	$(BIN)/python -m pytest --last-failed --last-failed-no-failures none; }

bench: setup-dev
	@$(BIN)/python bench/run.py

docs: setup-dev
	@$(BIN)/python docs/generate.py

lock: setup-dev
	@sh scripts/lock.sh

clean:
	rm -rf .venv build dist .demo .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
