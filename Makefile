# Two commands for a bare machine with Python 3.11+ and pip: `make demo`, `make test`.
# Everything is set up in .venv; nothing outside this folder is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The tests start 200 processes: each would compile every module anew.
unexport PYTHONDONTWRITEBYTECODE
# tests/support/work_division.py says which tests stay together, and their order.
PYTEST = $(BIN)/python -m pytest --dist loadscope --no-loadscope-reorder
# The installation compiles the native kernel: again after a change of these.
NATIVE := hatch_build.py recon_engine/version.py $(addprefix recon_engine/inputs/native/,kernel.c build.py)
# Compiling all modules takes longer than installing them; most are never imported.
PIP = -m pip install --quiet --disable-pip-version-check --no-compile
EXPORT = $(BIN)/uv export --quiet --locked --no-emit-project --no-header --no-default-groups --format requirements.txt

.PHONY: shuffled-hints demo test test-fast check lint types imports deployment packaging browser pictures image long model mutants crash-matrix races reaction fuzz spark-oldest bench bench-spark wheels fuzz-frames fuzz-frames-blind fuzz-native drafts sanitize arm lock clean

demo: $(VENV)/run  ## the whole pipeline on a seeded pair, locally
	$(BIN)/recon demo

# A third worker for two cores: tests wait for other processes in a quarter of their time.
# Peaks of memory are measured apart from the other tests, each in a separate process.
test: $(VENV)/test  ## every test, on a real Postgres and real S3 servers
	$(PYTEST) -n 3 --ignore=tests/program/test_memory_peaks.py
	$(PYTEST) -n 2 tests/program/test_memory_peaks.py

test-fast: $(VENV)/test  ## in a minute: no server, no slow test, 3 examples of each property
	HYPOTHESIS_PROFILE=fast $(PYTEST) -n 2 -m "not slow" tests/unit tests/corpus

check: lint types imports deployment packaging  ## everything that CI runs besides the tests

lint: $(VENV)/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/dev
	$(BIN)/mypy

imports: $(VENV)/dev
	$(BIN)/lint-imports --no-logo

deployment: $(VENV)/dev  ## the Dockerfile, the template, the workflows
	$(BIN)/hadolint Dockerfile
	$(BIN)/cfn-lint deploy/template.yaml
	$(BIN)/actionlint

wheels: $(VENV)/dev  ## a wheel with the native kernel for each platform, from this machine
	for platform in $$($(BIN)/python -c "import runpy; print(*runpy.run_path('recon_engine/inputs/native/build.py')['TARGETS'])"); do \
	  RECON_NATIVE=required RECON_WHEEL=$$platform $(BIN)/python -m hatchling build -t wheel -d dist || exit 1; \
	done
	$(BIN)/python recon_engine/inputs/native/build.py

packaging: $(VENV)/dev  ## the wheel in an otherwise empty environment
	PACKAGING=1 $(BIN)/python -m pytest tests/program/test_packaging.py

browser: $(VENV)/test  ## the HTML report in a real browser, which has to be installed
	RECON_BROWSER=required $(BIN)/python -m pytest -s tests/browser/test_browser.py

pictures: $(VENV)/test  ## the pictures of the documentation, from real runs; check them
	PYTHONPATH=tests $(BIN)/python campaigns/pictures.py

long: $(VENV)/test  ## the property tests with 50 times the examples
	HYPOTHESIS_PROFILE=long $(BIN)/python -m pytest tests/unit/test_reconcile.py tests/unit/test_gate.py tests/unit/test_kinds.py tests/integration/test_break_histories.py tests/integration/test_database.py tests/unit/test_lookup.py tests/unit/test_hints.py

shuffled-hints: $(VENV)/test  ## no hint on 1,000 pairs of shuffled columns; 10 to 30 minutes
	HYPOTHESIS_PROFILE=long $(BIN)/python -m pytest tests/unit/test_hints.py -k shuffled

crash-matrix: $(VENV)/test  ## the program fails at every side effect; 10 to 30 minutes
	PYTHONPATH=tests $(BIN)/python campaigns/crash_matrix.py docs/crash-matrix.md

races: $(VENV)/test  ## 300 races of two and three workers; about 20 minutes
	PYTHONPATH=tests $(BIN)/python campaigns/races.py docs/races.md

image: $(VENV)/test  ## build the image without an engine and run it; root, Debian; 10 minutes
	PYTHONPATH=tests $(BIN)/python campaigns/image.py docs/image.md

reaction: $(VENV)/test  ## SIGTERM at many moments of a run of a gigabyte; about 10 minutes
	PYTHONPATH=tests $(BIN)/python campaigns/reaction.py

mutants: $(VENV)/test  ## seeded mistakes of the engine, and the examples that find them; 1 to 2 hours
	PYTHONPATH=tests $(BIN)/python campaigns/mutants.py docs/mutants.md

model: $(VENV)/test  ## every interleaving of the run protocol, with larger bounds than in the tests
	PYTHONPATH=tests $(BIN)/python campaigns/protocol_model.py

fuzz: $(VENV)/fuzz  ## ten million inputs for the CSV reader, guided by coverage; resumes where it ended
	PYTHONPATH=tests $(BIN)/python campaigns/fuzz.py

fuzz-frames: $(VENV)/fuzz  ## files with a frame around the table, guided by coverage; resumes where it ended
	PYTHONPATH=tests $(BIN)/python campaigns/fuzz.py --target frames --inputs 20000000

fuzz-frames-blind: $(VENV)/test  ## the same files without guidance, which is faster; resumes where it ended
	PYTHONPATH=tests $(BIN)/python campaigns/fuzz.py --target frames --blind --inputs 9000000 --each 2000000

drafts: $(VENV)/dev  ## seeded pairs of unknown files: recon init and diff show exactly what was planted
	PYTHONPATH=tests $(BIN)/python campaigns/drafts.py --pairs 2000

fuzz-native: $(VENV)/dev  ## all short texts, and a million random inputs, for the native kernel; about 25 minutes
	PYTHONPATH=tests $(BIN)/python campaigns/fuzz_native.py --every 9
	PYTHONPATH=tests $(BIN)/python campaigns/fuzz_native.py --inputs 1000000

sanitize: $(VENV)/dev  ## the native kernel under the address and undefined-behaviour sanitizers
	PYTHONPATH=tests $(BIN)/python campaigns/fuzz_native.py --sanitize --inputs 20000

arm: $(VENV)/dev  ## the wheel for ARM in emulation: its results and the tests of the kernel; Debian, qemu-user; 20 minutes
	$(BIN)/python campaigns/arm.py

bench-spark: $(VENV)/test  ## Spark on one and two workers beside the local engine; about 7 minutes
	$(BIN)/python benchmarks/spark.py --rows 1000000 4000000 16000000 --workers 1 2

spark-oldest: $(VENV)/oldest/test  ## the tests of Spark with the oldest supported PySpark; about 3 minutes
	$(VENV)/oldest/bin/python -m pytest -W ignore::DeprecationWarning -W ignore::FutureWarning tests/spark/test_spark.py

bench: $(VENV)/dev  ## peers side by side, growth, memory, the pipeline; about 25 minutes
	$(BIN)/python benchmarks/bench.py --record

lock: $(VENV)/dev  ## the lock files: hashes, and no registry's address
	$(BIN)/uv lock --quiet
	$(EXPORT) --extra local -o requirements.lock
	$(EXPORT) -o deploy/runtime.lock
	$(EXPORT) --only-group build -o deploy/build.lock

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist

# Each stamp is a set of packages in the one environment.
$(VENV)/bin/python:
	$(PYTHON) -m venv --without-pip $(VENV)
	PIP_PYTHON=$@ $(PYTHON) $(PIP) "pip>=25.1"

# The build takes its compiler, of 400 MB, from this environment. Isolated, it would
# unpack another copy each time that the kernel has changed.
$(VENV)/run: pyproject.toml requirements.lock $(NATIVE) | $(VENV)/bin/python
	$(BIN)/python $(PIP) --require-hashes -r requirements.lock
	$(BIN)/python $(PIP) --group editable
	$(BIN)/python $(PIP) --no-deps --no-build-isolation -e .
	touch $@

$(VENV)/test: $(VENV)/run
	$(BIN)/python $(PIP) --group test
	touch $@

$(VENV)/fuzz: $(VENV)/test
	$(BIN)/python $(PIP) --group fuzz
	touch $@

$(VENV)/dev: $(VENV)/test
	$(BIN)/python $(PIP) --group dev
	touch $@

# An environment of its own, of one other version.
$(VENV)/oldest/test: $(VENV)/run
	$(PYTHON) -m venv $(VENV)/oldest
	$(VENV)/oldest/bin/python $(PIP) "pip>=25.1"
	$(VENV)/oldest/bin/python $(PIP) --require-hashes -r requirements.lock
	$(VENV)/oldest/bin/python $(PIP) --group editable
	$(VENV)/oldest/bin/python $(PIP) --no-deps --no-build-isolation -e .
	$(VENV)/oldest/bin/python $(PIP) --group test "pyspark==3.5.*"
	touch $@
