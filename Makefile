# make install   the locked packages in .venv, and nothing else
# make repro   the whole pipeline: from photographs to registered models
# make unit    the tests of single modules, in a minute
# make test    all tests: unit, integration, e2e
# make check   format, lint, types, import rules
# make bench   what is measured rather than asserted
# make speedrun PHOTOS=folder MINUTES=5   how good a model gets in so many minutes
# make traps   whether the tests notice the mistakes that public code makes
# make soak    an hour of retraining with kills and bad photographs
# make cluster what map-like stages need to run on many machines
# make s3      the driver of a DVC remote, or of photographs, in S3; also gs, azure, ssh
# make ui      MLflow's pages on this machine
# make lock    requirements*.lock anew from pyproject.toml
# TORCH=cpu    with any of them: torch without CUDA, after `make lock TORCH=cpu`; docs/container.md

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
TORCH  ?=
SUFFIX := $(TORCH:%=-%)
NEWER  := requirements$(SUFFIX).lock pyproject.toml Makefile
UV     := uv==0.13.9
PORT   ?= 5000
MINUTES ?= 5

export PATH := $(abspath $(BIN)):$(PATH)
export VIRTUAL_ENV := $(abspath $(VENV))
export NO_ALBUMENTATIONS_UPDATE := 1
export MLFLOW_DISABLE_TELEMETRY := true
export DVC_NO_ANALYTICS := 1
# Where this is set, as in many containers, every stage compiles torch and its like anew, which takes longer than its work.
unexport PYTHONDONTWRITEBYTECODE
ifneq ($(TORCH),)
export UV_TORCH_BACKEND := $(TORCH)
endif

.PHONY: install repro unit test check bench speedrun traps soak cluster s3 gs azure ssh ui lock clean

install: $(VENV)/.run

repro: $(VENV)/.run
	@command -v git >/dev/null || { echo "make repro: git is missing, which DVC needs; install it" >&2; exit 2; }
	@git rev-parse --is-inside-work-tree >/dev/null || { echo "make repro: DVC needs $(CURDIR) to be in a git repository that you may use; see above" >&2; exit 2; }
	@$(BIN)/python -m stages.runtime.preflight
	@$(BIN)/dvc repro
	@printf '%s\n' "" "Made:" "  data/report/index.html   who leads, by how much, what it looks like: for any browser" "  make ui                  MLflow: runs side by side, registered models" "To compare later runs with this one, commit what was made from what:" "  git add dvc.lock && git commit -m 'First run'"

PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

unit: $(VENV)/.test
	@$(PYTEST) tests/unit

test: $(VENV)/.test
	@$(PYTEST) --cov --cov-report=term

check: $(VENV)/.test
	@$(BIN)/ruff format --check
	@$(BIN)/ruff check
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m pytest -q tests/unit/test_dvc_deps.py

bench: $(VENV)/.test
	@$(BIN)/python -m tests.bench
	@$(BIN)/python -m tests.bench.networks

speedrun: $(VENV)/.test
	@$(BIN)/python -m tests.bench.speedrun "$(PHOTOS)" --minutes $(MINUTES)

traps: $(VENV)/.test
	@$(BIN)/python -m tests.bench.traps

soak: $(VENV)/.test
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.bench.soak

# One process and no warnings of others' packages: the address stands last on the screen after ten seconds instead of thirty.
ui: $(VENV)/.run
	@echo "MLflow, in some seconds: http://127.0.0.1:$(PORT)/#/experiments/1/runs?workflowType=machine_learning&viewStateShareKey=scores (Ctrl-C ends it)"
	@MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false PYTHONWARNINGS=ignore $(BIN)/mlflow server --workers 1 --uvicorn-opts "--log-level warning" --host 127.0.0.1 --port $(PORT) --backend-store-uri sqlite:///$(CURDIR)/mlflow.db --registry-store-uri sqlite:///$(CURDIR)/mlflow.db

# What Python runs when it starts in this environment: its programs come first, also where nobody has activated it. So
# .venv/bin/dvc finds, for its stages, the python that has the packages.
PATH_FIRST := import os, sys; here = os.path.join(sys.prefix, "bin"); path = os.environ.get("PATH", os.defpath).split(os.pathsep); os.environ["PATH"] = os.pathsep.join(path if here in path else [here, *path])

# Two sets of packages in one environment: what the pipeline runs with, and the test tools on top. The project itself is
# installed in place, for its command `inpaint`. Whatever is newer has it installed again; in the image, nothing.
$(VENV)/.run: $(NEWER)
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 14) else f"Python 3.11 to 3.13 is needed, but {sys.executable} is {v.major}.{v.minor}; say another one: make PYTHON=python3.12 ...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "$(UV)"
	@$(BIN)/uv pip install --quiet --require-hashes -r requirements$(SUFFIX).lock
	@$(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	@printf '%s\n' '$(PATH_FIRST)' > "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/programs_first.pth"
	@touch $@

$(VENV)/.test: requirements-test$(SUFFIX).lock $(VENV)/.run
	@$(BIN)/uv pip install --quiet --require-hashes -r $<
	@touch $@

# What only some need, beside the locked packages: docs/scaling.md.
cluster s3 gs azure ssh: $(VENV)/.run
	@$(BIN)/uv pip install --quiet --no-build-isolation -c requirements-extras$(SUFFIX).lock --editable '.[$@]'

COMPILE := uv pip compile pyproject.toml --extra pipeline --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet

lock:
	$(COMPILE) $(TORCH:%=-c requirements.lock) -o requirements$(SUFFIX).lock
	$(COMPILE) --extra cluster --extra s3 --extra gs --extra azure --extra ssh -c requirements$(SUFFIX).lock -o requirements-extras$(SUFFIX).lock
	$(COMPILE) --extra cluster --extra test -c requirements$(SUFFIX).lock -o requirements-test$(SUFFIX).lock

clean:
	rm -rf $(VENV) .locks .resume .remembered
