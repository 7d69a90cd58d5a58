# Two commands do everything on a fresh machine: `make search` and `make test`. PYTHON names a Python 3.11.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: search test bench-kernels bench-latency-model lint emulator clean

search: $(STAMP)
	$(BIN)/understudy search --data digits --max-latency 50us --name digits-$$(date +%Y%m%d-%H%M%S)

test: $(STAMP) lint
	$(BIN)/python -m pytest -n 2 --dist loadfile

bench-latency-model: $(STAMP)
	$(BIN)/python -m tests.benchmarks.latency_model --out results/runs/latency-model

bench-kernels: $(STAMP)
	$(BIN)/python -m tests.benchmarks.kernels --out results/runs/kernels

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# A 64-bit ARM machine under qemu for the tests that run cross-compiled students (Debian or Ubuntu, as root).
emulator: $(STAMP)
	tests/emulation/setup.sh

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info
