PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
RUNTIME := latentlab/web/vendor/ort-wasm-simd-threaded.wasm

DEMO_IMAGE ?= sample:flower

.PHONY: setup demo test test-all lint docs bench calibration hardening test-lowest dist clean

setup: $(READY) $(RUNTIME)

# Modules are compiled on all processors, and those of other packages' tests are left out: pip takes
# one, and twice as long. What cannot be compiled is never imported.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt \
		--editable '.[dev]'
	-$(BIN)/python -m compileall -q -q -j 0 -x '/tests?/' $(VENV)/lib
	touch $@

# Four files of onnxruntime-web, for the pages; without npm everything else works.
$(RUNTIME): scripts/fetch_web_runtime.py latentlab/web/pages.py | $(READY)
	$(BIN)/python scripts/fetch_web_runtime.py --if-possible

demo: setup
	$(BIN)/latentlab pca $(DEMO_IMAGE) --size 256
	$(BIN)/latentlab traverse --components 5

# All tests of a file run in one process, so that what they share is made once. Files with slow tests
# come first, and that order is kept: nothing long is left for the end.
WORKERS ?= auto
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 4 \
	--dist loadfile --no-loadscope-reorder

# Everything that guards a user's result.
test: setup
	$(PYTEST) -m "not slow"

# The rest, too: what compiles, builds, kills processes, or runs benchmarks and notebooks. One run,
# because to collect the tests takes a quarter of a minute for each process.
test-all: setup
	$(PYTEST)

# The essential tests in an environment of its own with the lowest versions of the dependencies, but
# for torch (constraints-lowest.txt says why). Some of these versions warn of newer versions of what
# they depend on themselves, which is no error here.
LOWEST := .venv-lowest
LOWEST_TESTS := $(addprefix tests/test_,sklearn.py saving.py contracts.py pca.py \
	digits_export.py explorer_protocol.py)

test-lowest: $(LOWEST)/.ready
	OMP_NUM_THREADS=1 $(LOWEST)/bin/python -m pytest -n 2 --dist loadfile -q -W default \
		-m "not slow and not shared and not browser" $(LOWEST_TESTS)

$(LOWEST)/.ready: pyproject.toml constraints-lowest.txt
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --no-compile --constraint constraints-lowest.txt \
		--editable '.[video,digits]' hypothesis pytest pytest-xdist pytorch-msssim scikit-image
	touch $@

# Wheel and sdist. The wheel is built from the sdist, so that both hold the same.
dist: setup
	$(BIN)/python scripts/fetch_web_runtime.py
	rm -rf dist && mkdir dist
	$(BIN)/python -c "from setuptools.build_meta import build_sdist; build_sdist('dist')"
	$(BIN)/python -m pip wheel --no-deps --no-build-isolation --wheel-dir dist dist/*.tar.gz

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# The site, offline, in build/docs/html. `make docs EXECUTE=1` runs the notebooks again, too.
docs: setup
	OMP_NUM_THREADS=1 $(BIN)/python scripts/docs $(if $(EXECUTE),--execute)

# `make bench QUICK=1` tries every section on small sizes and writes nothing.
bench: setup
	$(BIN)/python scripts/bench $(if $(QUICK),--quick,--markdown docs/benchmarks.md)

# How often claims and intervals are wrong where the truth is known: hours, resumed where it stopped.
calibration: setup
	OMP_NUM_THREADS=1 $(BIN)/python scripts/calibration $(if $(QUICK),--quick)

# Parsers under a fuzzer, contradictions, command lines and kills: an hour each, resumed. The full
# form needs atheris in the environment, which is no dependency.
hardening: setup
	OMP_NUM_THREADS=1 $(BIN)/python scripts/hardening $(if $(QUICK),--quick)

clean:
	rm -rf $(VENV) $(LOWEST) build dist *.egg-info
