# Everything a newcomer types. The first command also does the set-up, once, in .venv.
PYTHON ?= python3
BIN := .venv/bin
CPU_TORCH := https://download.pytorch.org/whl/cpu

.PHONY: help setup demo board test test-all lint lint-code lint-types lint-tasks readmes docs reference bench
.DELETE_ON_ERROR:

# Python keeps what it compiles, whatever the shell says: the tests start a hundred processes of it.
unexport PYTHONDONTWRITEBYTECODE

help:
	@echo "make demo       set up, then watch subliminal learning happen and be measured (CPU, no keys)"
	@echo "make board      the demo, then a leaderboard of it and of the whole study: open runs/board/index.html"
	@echo "make test       set up, then run the tests (offline)"
	@echo "make test-all   the same with those that repeat a shorter test at length"
	@echo "make lint       ruff, mypy, inspect-evals-lint, lm_eval validate"
	@echo "make readmes    write the generated parts of the tasks' READMEs"
	@echo "make docs       write the documentation site to site/, to open from disk"
	@echo "make reference  rebuild the embedded reference models from their seed"
	@echo "make bench      measure scoring, generation and training beside what else one would use"

setup: .venv/installed .env

# A model for `inspect eval tasks/...` without a flag. Yours, once it is there.
.env:
	@cp .env.example $@

# pip compiles 24,000 modules on one core; compileall takes all cores, and leaves out what nobody imports or few of. What
# does not compile is a template or for another Python.
# A Linux machine without an NVIDIA GPU first tries PyTorch's own index: its CPU wheel is 0.2 GB, PyPI's 3 GB.
.venv/installed: pyproject.toml setup.py constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("sublim-eval needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Name another one: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	@if [ "$$(uname)" = Linux ] && ! command -v nvidia-smi >/dev/null; then \
		$(BIN)/pip install -qq --no-compile --no-deps --retries 0 --timeout 20 -c constraints.txt --index-url $(CPU_TORCH) torch 2>/dev/null \
		|| echo "PyTorch's CPU index did not answer; torch will come from the usual index."; fi
	@echo "Installing the tested versions into .venv; this happens once and takes a few minutes."
	$(BIN)/pip install -qq --no-compile -c constraints.txt -e '.[dev]'
	@$(BIN)/python -m compileall -qq -j 0 -x '/(tests?|transformers/models)/' .venv/lib || true
	@touch $@

demo: setup
	$(BIN)/sublim demo

# The example site: a demo of your own beside every seed of the committed reproduction.
board: setup
	$(BIN)/sublim demo --out runs/demo
	$(BIN)/sublim leaderboard runs/demo docs/results/sources --title "An example" --out runs/board

# Three on two cores: some tests wait for processes that they start.
test: setup
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not long" --durations=25

test-all: setup
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

# Side by side with `make -j2 lint`.
lint: lint-code lint-types lint-tasks

lint-code: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

lint-types: setup
	$(BIN)/mypy

lint-tasks: setup
	$(BIN)/inspect-evals-lint --all
	HF_HUB_OFFLINE=1 $(BIN)/lm_eval validate --include_path tasks --tasks sublim

readmes: setup
	HF_HUB_OFFLINE=1 $(BIN)/python -m sublim_eval.maintain.readmes

# Its own few packages on top of the set-up, once; the build itself needs no network.
docs: .venv/installed-docs
	env -u SUBLIM_REGISTRY NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build
	@echo "Open site/index.html"

.venv/installed-docs: .venv/installed
	$(BIN)/pip install -qq -c constraints.txt -e '.[docs]'
	@touch $@

reference: setup
	$(BIN)/python -m sublim_eval.distill.reference.build

bench: setup
	$(BIN)/python benchmarks/eval_speed.py
	$(BIN)/python benchmarks/generation.py
	$(BIN)/python benchmarks/training.py
