# Every target works from a fresh clone: it makes the virtual environment of the chosen Python
# (.venv-3.x, with a link .venv to the last one used), installs the tools that it needs there and
# builds the extension in release mode. Needs: Rust, CPython >= 3.10 with headers, a C compiler.
#
#     make test PYTHON=python3.12          another interpreter (a name on PATH, or a path)
#     make test-python ARGS="-k timeout"   arguments for pytest

PYTHON ?= python3
CARGO ?= cargo
ARGS ?=
# "no" leaves the Rust tests out of `make test`: .ci/run runs them once, not once for each Python.
RUST_TESTS ?= yes
# Seconds for one Python test before its process is ended with a traceback of all threads.
TEST_TIMEOUT ?= 60

VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
VENV := .venv-$(VERSION)
BIN := $(VENV)/bin
# For pyo3's build script, wherever cargo runs over the extension; and one place for its sources.
export PYO3_PYTHON := $(CURDIR)/$(BIN)/python
export CARGO_NET_RETRY ?= 10
STUBTEST := $(BIN)/python -m mypy.stubtest --concise --mypy-config-file pyproject.toml \
	--allowlist tools/stubtest_allowlist.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help build run test test-rust test-python test-tools check lint clippy fmt layers stubs pystate-check \
	bench sanitize conformance stdlib clients wheels docs clean

help: ## This list
	@echo "Targets (PYTHON=... chooses the interpreter, now $(PYTHON), CPython $(VERSION)):"
	@grep -hE '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | \
		awk -F ':.*## ' '{ printf "  make %-14s %s\n", $$1, $$2 }'

$(VENV)/.ready: pyproject.toml tools/venv
	@tools/venv "$(PYTHON)" "$(VENV)"

build: $(VENV)/.ready ## Build the extension (release) and install it in the virtual environment
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/maturin develop --release --quiet
	@ln -sfn $(VENV) .venv

run: build ## The main job: two greenlets, then 1,000 URLs fetched concurrently
	@echo; echo "== examples/two_greenlets.py"
	@$(BIN)/python examples/two_greenlets.py
	@echo; echo "== examples/fetch_many.py"
	@$(BIN)/python examples/fetch_many.py
	@tools/next_steps $(BIN)/python

test: $(if $(filter yes,$(RUST_TESTS)),test-rust) test-python ## cargo test, then pytest

test-rust: ## Tests of the engine, doc tests included
	$(CARGO) test --package eventlet

test-python: build ## Tests of the Python packages (tests/unit, tests/crash)
	$(BIN)/python -m pytest --timeout=$(TEST_TIMEOUT) $(wildcard tests/unit tests/crash) $(ARGS)

check: lint layers clippy stubs pystate-check test-tools ## What CI asks for: format, lints, types, layers, layouts
	@echo "make check: all is well"

lint: $(VENV)/.ready ## Formatting and lints of Rust and Python, and news fragments
	$(CARGO) fmt --all --check
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/python tools/changes.py

clippy: $(VENV)/.ready ## clippy over both crates and all their targets; a warning is an error
	$(CARGO) clippy --workspace --all-targets --quiet -- -D warnings

fmt: $(VENV)/.ready ## Format the Rust and Python sources
	$(CARGO) fmt --all
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

layers: $(VENV)/.ready ## Imports point down, unsafe code only where it is allowed
	$(BIN)/python tools/layers.py

test-tools: build ## Tests of the checks themselves (tests/tools)
	$(BIN)/python -m pytest --quiet tests/tools

stubs: build ## The type stubs agree with the built modules
	MYPYPATH=python $(STUBTEST) greenlet
	MYPYPATH=python $(STUBTEST) eventlet --ignore-missing-stub --ignore-unused-allowlist \
		--allowlist tools/stubtest_absent.txt

pystate-check: build ## CPython's private structs against the headers of this Python
	tools/pystate_check/run $(BIN)/python

bench: ## Figures against upstream in the same run (bench/RESULTS.md tells how to read them)
	$(PYTHON) bench/run --python "$$(command -v $(PYTHON))" $(ARGS)

sanitize: ## The engine's tests under AddressSanitizer, valgrind and loom
	tools/sanitize/run $(ARGS)

clients: build ## Popular clients and packages in a patched process, against real servers
	tests/clients/run $(BIN)/python $(ARGS)

stdlib: build ## CPython's own tests, plain and patched (minutes)
	$(BIN)/python tests/stdlib/run.py $(ARGS)

conformance: build ## Upstream's own test-suites against this build
	$(BIN)/python tests/upstream/run.py $(ARGS)

wheels: $(VENV)/.ready ## A wheel for each CPython found, in dist/
	@set -e; tools/pythons | while read -r version python; do \
		$(BIN)/maturin build --release --out dist --interpreter "$$python" </dev/null; \
	done; ls -l dist

docs: ## API documentation of the engine, in target/doc
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --package eventlet --no-deps
	@echo "target/doc/eventlet/index.html; guides are in docs/"

clean: ## Remove what was built, and the virtual environments
	$(CARGO) clean
	rm -rf .venv .venv-* dist .scratch python/greenlet/_core.*.so
