# Two commands do everything on a fresh machine: `make search` and `make test`. PYTHON names a Python 3.11.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: install search test pytest bench-cuda bench-distill bench-endtoend bench-kernels bench-latency-model bench-search bench-tasks lint emulator clean

search: $(STAMP)
	$(BIN)/understudy search --data digits --max-latency 50us --name digits-$$(date +%Y%m%d-%H%M%S)

install: $(STAMP)

# Linting and testing side by side: the tests often wait, for processes and for one another's measurements.
test: $(STAMP)
	$(MAKE) --no-print-directory -j 2 lint pytest

pytest: $(STAMP)
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

bench-latency-model: $(STAMP)
	$(BIN)/python -m tests.benchmarks.latency_model --out results/runs/latency-model

bench-distill: $(STAMP)
	$(BIN)/python -m tests.benchmarks.distill --out results/runs/distill

bench-endtoend: $(STAMP)
	$(BIN)/python -m tests.benchmarks.endtoend --out results/runs/endtoend

bench-search: $(STAMP)
	$(BIN)/python -m tests.benchmarks.search --table ../shared/data/nas-bench-201/table.parquet --out results/runs/search-benchmark

bench-tasks: $(STAMP)
	$(BIN)/python -m tests.benchmarks.tasks --out results/runs/tasks

bench-kernels: $(STAMP)
	$(BIN)/python -m tests.benchmarks.kernels --out results/runs/kernels

# Where there is an NVIDIA GPU; ends with status 2 where there is none.
bench-cuda: $(STAMP)
	$(BIN)/python -m tests.benchmarks.cuda

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# A 64-bit ARM machine under qemu for the tests that run cross-compiled students (Debian or Ubuntu, as root).
emulator:
	PYTHON=$(PYTHON) tests/emulation/setup.sh

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info
