# Two commands are all a newcomer types: `make demo` and `make test`.
# TORCH_INDEX=URL points pip at another index for torch alone, e.g. PyTorch's own index of CPU wheels.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
TORCH_INDEX ?=
TORCH_FROM := $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX),)
TORCH := $(shell sed -n 's/^\(torch==.*\)/\1/p' constraints.txt)
INSTALLED := $(VENV)/.installed

.PHONY: test-slow demo test check shape bench docs build clean help

help:
	@echo "make demo    a whole search on digits: teacher, students, front, exported file"
	@echo "make test    the test suite, at most ten minutes"
	@echo "make test-slow   the rest of it: whole searches, browsers, benchmarks"
	@echo "make check   ruff, mypy, import laws"
	@echo "make shape   the rooms of the code, who imports whom, what is longest"
	@echo "make docs    the documentation as a site, in build/site"
	@echo "make build   the source distribution and the wheel, in dist (see docs/release.md)"
	@echo "make bench   the Fashion-MNIST benchmark (needs the data, see docs/benchmarks.md)"

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "autokd needs Python 3.11 or newer: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH_FROM) -c constraints.txt $(TORCH)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(INSTALLED)

demo: $(INSTALLED)
	$(BIN)/autokd search examples/demo.yaml
	$(BIN)/autokd confirm demo
	$(BIN)/autokd export demo -o student.onnx
	$(BIN)/autokd verify student.onnx --study demo
	@echo
	@echo "See the front in a browser:  $(BIN)/autokd dashboard demo"

test: $(INSTALLED)
	$(BIN)/python -m pytest -m "not slow"

test-slow: $(INSTALLED)
	$(BIN)/python -m pytest -m slow

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python tools/typecheck.py
	$(BIN)/python -m pytest tests/test_import_laws.py

shape: $(INSTALLED)
	$(BIN)/python tools/house.py

$(VENV)/.docs: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	touch $(VENV)/.docs

docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

build: $(INSTALLED)
	rm -rf dist
	$(BIN)/python -m build --no-isolation

bench: $(INSTALLED)
	$(BIN)/python benchmarks/fashion_mnist.py

clean:
	rm -rf $(VENV) build dist .autokd autokd.db autokd.db-* student.onnx student.receipt.json
