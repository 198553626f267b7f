# Everything from a fresh clone with only Python and make: each target sets up .venv first.
PYTHON ?= python3
ACTIVE = .venv/bin/python

.PHONY: setup demo test lint types schema bench clean

setup: .venv/.done

# uv where it is there, pip where not. Compiled at once, as pip does: else where nothing may be written later
# (PYTHONDONTWRITEBYTECODE), every start takes 12 s instead of 5.
.venv/.done: pyproject.toml
	@if command -v uv >/dev/null 2>&1; then \
		uv venv --quiet --allow-existing --python $(PYTHON) .venv && uv pip install --quiet --compile-bytecode --python $(ACTIVE) -e '.[dev]'; \
	else \
		$(PYTHON) -m venv .venv && $(ACTIVE) -m pip install --quiet -e '.[dev]'; \
	fi
	@touch $@

demo: setup
	$(ACTIVE) -m zdd.cli data labels data/labels --per-class 100 --seed 0
	$(ACTIVE) train.py demo --n_runs 3
	$(ACTIVE) test.py runs/demo/latest

test: setup
	$(ACTIVE) -m pytest -n 2

lint: setup
	$(ACTIVE) -m ruff check .
	$(ACTIVE) -m ruff format --check .

types: setup
	$(ACTIVE) -m mypy

schema: setup
	$(ACTIVE) -m zdd.cli schema --write

bench: setup
	$(ACTIVE) scripts/bench_start.py
	$(ACTIVE) scripts/bench_data.py
	$(ACTIVE) scripts/bench_train.py

clean:
	rm -rf .venv .pytest_cache .ruff_cache .mypy_cache
