# `make demo` and `make test` work on a bare machine with python3 and make: both create .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
LMMS := .venv-lmms
INSPECT := .venv-inspect

# Compiled modules are kept, whatever the machine is set to: many processes start here, and each would compile torch anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test lmms inspect lint types bench bench-gpu zoo clean

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "evalkit needs Python 3.11 or newer; \`$(PYTHON)\` is older. Try: make PYTHON=python3.12"; exit 4; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "could not create $(VENV); on Debian and Ubuntu: apt-get install python3-venv"; exit 4; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(READY)
	$(BIN)/evalkit run --model tiny --rope vanilla,mrope,mrope-i,mhrope --tasks mini --output results/demo

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

# lmms-eval in an environment of its own (it needs an older PyAV and protobuf): the tests of the bridge and of the
# bench's row use it if it is there.
lmms: $(LMMS)/.ready

$(LMMS)/.ready: $(READY) pyproject.toml
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(LMMS)
	sed '/^av==/d; /^protobuf==/d' constraints.txt | \
		$(BIN)/uv pip install --quiet --python $(LMMS)/bin/python --constraint - --editable '.[lmms]'
	@touch $@

# inspect_ai in an environment of its own (it needs older versions of fsspec and python-dateutil): the tests of its logs run there.
inspect: $(INSPECT)/.ready

$(INSPECT)/.ready: $(READY) pyproject.toml
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(INSPECT)
	sed '/^fsspec==/d; /^python-dateutil==/d' constraints.txt | \
		$(BIN)/uv pip install --quiet --python $(INSPECT)/bin/python --constraint - \
		--editable '.[inspect]' hypothesis pytest pytest-timeout
	@touch $@

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(READY)
	$(BIN)/mypy

# With lmms-eval beside the engine after `make lmms`.
PEER = $(if $(wildcard $(LMMS)/.ready),--lmms-python $(LMMS)/bin/python)

bench: $(READY)
	$(BIN)/evalkit bench engine $(PEER)
	$(BIN)/evalkit bench engine --dtype bfloat16 --techniques none
	$(BIN)/evalkit bench engine --model random:qwen2_5_vl --workload video $(PEER)
	$(BIN)/evalkit bench scaling --plot results/scaling.png
	$(BIN)/evalkit bench scaling --model random:qwen2_5_vl-tower --samples 4,8 --questions 1,2
	$(BIN)/evalkit bench memory
	$(BIN)/evalkit bench ropes

# Shapes of Qwen2.5-VL-7B with random weights (16 GB, kept in .venv/bench): nothing is downloaded.
SEVEN = $(BIN)/evalkit bench engine --model random:qwen2_5_vl-7b --dtype bfloat16 --device cuda --folder $(VENV)/bench $(PEER)

bench-gpu: $(READY)
	$(SEVEN) --workload docvqa --limit 128 --baseline-limit 8 --techniques none --compiled
	$(SEVEN) --workload videomme --limit 32 --baseline-limit 6 --techniques none --compiled
	$(SEVEN) --workload images --limit 240 --baseline-limit 24 --compiled
	$(SEVEN) --workload reasoning --baseline-limit 4 --techniques graphs
	$(BIN)/evalkit bench ropes --device cuda
	$(BIN)/python -m pytest -m gpu

zoo: $(READY)
	$(BIN)/python -m evalkit.zoo.train

clean:
	rm -rf $(VENV) $(LMMS) $(INSPECT) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
