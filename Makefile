# Everything here needs only Python >= 3.10, a C compiler and Rust >= 1.89.

PYTHON ?= python3
UV_VERSION := 0.13.9

VENV := $(CURDIR)/.venv
BIN := $(VENV)/bin
export UV_PROJECT_ENVIRONMENT := $(VENV)
export VIRTUAL_ENV := $(VENV)
# One interpreter for every build, so that cargo and maturin share their artefacts.
export PYO3_PYTHON := $(BIN)/python

EXTENSION := src/trainproof/_core.abi3.so
RUST_SOURCES := Cargo.toml Cargo.lock $(shell find crates -name '*.rs' -o -name Cargo.toml)

.DEFAULT_GOAL := help
.PHONY: help env build demo test test-all check lint typecheck test-rust fmt clean

help: ## Show this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

env: $(VENV)/.env-stamp build ## Create .venv with the locked dependencies and the extension

$(BIN)/uv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

$(VENV)/.env-stamp: pyproject.toml uv.lock | $(BIN)/uv
	$(BIN)/uv sync --locked --inexact --all-extras --no-install-project --compile-bytecode
	@touch $@

build: $(EXTENSION) ## Build the Rust extension (release) into .venv

$(EXTENSION): $(VENV)/.env-stamp $(RUST_SOURCES)
	$(BIN)/uv pip install --quiet --no-deps --no-build-isolation --reinstall --editable .
	@touch $@

demo: env ## Record, verify, refuse a spoof, write a report
	$(BIN)/python -m trainproof.demo

test: check test-rust ## All gates and the tests that take seconds
	$(BIN)/python -m pytest

test-all: check test-rust ## All gates and all tests, the slow sweeps included
	$(BIN)/python -m pytest -m ""

check: lint typecheck

lint: env ## ruff, rustfmt and clippy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

typecheck: env ## mypy --strict, and the stub of the extension against its binary
	$(BIN)/mypy --strict src/trainproof
	$(BIN)/python -m mypy.stubtest trainproof._core

test-rust: env
	cargo test --workspace --release --locked

fmt: env ## Format Python and Rust
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .
	cargo fmt --all

clean: ## Remove the environment and everything built
	rm -rf .venv target dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find src -name '*.so' -delete
