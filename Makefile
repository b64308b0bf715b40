# make         everything CI runs: format, lint, types, tests with coverage
# make serve   install, then serve the bundled cassettes          (ARGS: more options, PORT: another port)
# make test    install, then run the tests                        (ARGS: more options of pytest)
# make api      the admin API against its own description, by schemathesis
# make fuzz    20 000 nearly right inputs for each reader                 (FUZZ_INPUTS: another number; about 5 minutes)
# make soak    a quarter of an hour of mixed load, and what ends at nothing many times over (SOAK_SECONDS, HARDER)
# make interop WireMock plays what we export, and mitmproxy reads it (needs npm and Java; installs both below build)
# make pythons the tests under every supported Python that is on the machine
# make browser install Chromium, then test the page in it; pictures in build/browser, the README's in tools/page.png
# make clients the suites of real clients, each in an environment of its own   (ARGS: clients, --replayed, --base-url URL)
# make bench   throughput, replay, start-up and load beside nginx, the original dummy and vcrpy (needs wrk and nginx)
# make bench-full  the same, latency, and every peer that installs from npm and PyPI, below build/peers; with plots
# make datatrove  in datatrove's pipelines, beside the original DummyServer, in an environment without torch or vLLM
# make vcr-versions  vcrpy 7, 8 and 9 and pytest-recording play what we recorded, each in an environment of its own
# make real-model  clients in front of a recorded real model, then of the replay with the model stopped: the same results
# make cluster a pipeline recorded on a Ray cluster while a node is killed, and replayed by other numbers of ranks
# make record  record the bundled cassettes anew from a real local model (compiles llama.cpp for a while)

PYTHON ?= python3
VENV ?= .venv
PORT ?= 8080
EXTRA ?= dev
BIN := $(VENV)/bin

.PHONY: check serve test format lint types coverage api browser pythons bench bench-full datatrove cluster clients real-model record vcr-versions clean fuzz soak interop

check: lint types coverage

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "stubserver needs Python 3.11 or newer; name one: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# Two stamps: serving needs less than testing.
$(VENV)/.serves: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.tests: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$(EXTRA)]'
	@touch $@ $(VENV)/.serves

serve: $(VENV)/.serves
	@exec $(BIN)/stubserver serve cassettes --port $(PORT) $(ARGS)

test: $(VENV)/.tests
	$(BIN)/python -m pytest -n 2 $(ARGS)

format: $(VENV)/.tests
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

lint: $(VENV)/.tests
	$(BIN)/ruff format --check
	$(BIN)/ruff check

types: $(VENV)/.tests
	$(BIN)/mypy

coverage: $(VENV)/.tests
	$(BIN)/python -m pytest -n 2 --cov --cov-fail-under=95 $(ARGS)

api: $(VENV)/.api
	$(BIN)/python -m pytest -q $(ARGS) tests/api/check_openapi.py

$(VENV)/.api: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[api]'
	@touch $@

$(VENV)/.browser: pyproject.toml | $(VENV)/.tests
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null || { \
		echo "installing chromium and chromium-driver"; \
		apt-get update -qq && apt-get install -y -qq chromium chromium-driver >/dev/null; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[browser]'
	@touch $@

browser: $(VENV)/.browser
	$(BIN)/python -m pytest tests/browser $(ARGS)

interop: $(VENV)/.tests
	$(BIN)/python tools/interop.py

fuzz: $(VENV)/.tests
	FUZZ_INPUTS=$(or $(FUZZ_INPUTS),20000) $(BIN)/python -m pytest -n 2 tests/test_fuzz.py --durations=0 $(ARGS)

soak: $(VENV)/.tests
	SOAK_SECONDS=$(or $(SOAK_SECONDS),900) HARDER=$(or $(HARDER),30) $(BIN)/python -m pytest -s tests/test_soak.py \
		tests/test_hostile.py tests/test_stub.py::test_many_cycles_leave_nothing_behind \
		tests/test_writer.py::test_nothing_acknowledged_is_lost_by_a_kill $(ARGS)

pythons:
	tools/pythons.sh $(ARGS)

clients: $(VENV)/.serves
	$(BIN)/python tests/clients/run.py $(ARGS)

bench: $(VENV)/.tests
	$(BIN)/python tools/bench/run.py $(ARGS)

$(VENV)/.bench: pyproject.toml | $(VENV)/.tests
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@

# ARGS: --quick, --only peers ...; the table and the plots are made of the newest result
bench-full: $(VENV)/.bench
	$(BIN)/python tools/bench/run.py --full $(ARGS)
	$(BIN)/python tools/bench/publish.py $(PUBLISH)

DATATROVE := .venv-datatrove

$(DATATROVE)/.ready: pyproject.toml
	$(PYTHON) -m venv $(DATATROVE)
	$(DATATROVE)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[datatrove,buckets,test]'
	@touch $@

# ARGS: --quick for a comparison with smaller numbers; TESTS: more options of pytest
datatrove: $(DATATROVE)/.ready
	$(DATATROVE)/bin/python -m pytest -q tests/test_datatrove.py tests/test_deploy.py $(TESTS)
	$(DATATROVE)/bin/python -m pytest -q tests/test_s3.py  # by itself: pools of workers keep the first environment
	$(DATATROVE)/bin/python tools/datatrove/compare.py $(ARGS)

# A cluster of several Ray nodes on this machine, one of which is killed.
cluster: $(DATATROVE)/.ready
	$(DATATROVE)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[ray]'
	$(DATATROVE)/bin/python tools/datatrove/cluster.py $(ARGS)

record: $(VENV)/.tests
	$(BIN)/python tools/record_examples.py

real-model: $(VENV)/.tests
	$(BIN)/python tools/real_model/real_model.py

vcr-versions: $(VENV)/.tests
	$(BIN)/python tools/vcr_versions/versions.py $(ARGS)

clean:
	rm -rf $(VENV) .venv-* build dist *.egg-info .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis
