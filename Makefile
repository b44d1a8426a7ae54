# make demo      install into .venv, train and test two small models, end with a leaderboard
# make test      install into .venv, lint, check types, run the fast tests
# make test-slow the tests that take minutes

PYTHON ?= $(firstword $(foreach version,3.11 3.12 3.10,$(shell command -v python$(version) 2>/dev/null)) python3)
VENV := .venv
PY := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
HEADLESS := $(shell grep -o '^opencv-python-headless==[0-9.]*' constraints.txt)

# Tests run in two processes with a thread each; more threads than cores slow both down many times over. Files keep
# their order: the longest ones hold few tests, and would else come last.
PYTEST := OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

DEMO := work_dirs/demo
DEMO_MODELS := upernet_convnextv2_atto_ade20k upernet_timm_resnet18_ade20k

.PHONY: install demo test test-slow lint clean

install: $(INSTALLED)

$(INSTALLED): setup.cfg constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .[test]
	@# Both OpenCV packages come in through dependencies and share one folder; the one without a window system,
	@# which needs no libGL, is laid on top.
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall $(HEADLESS)
	@touch $@

demo: $(INSTALLED)
	@for model in $(DEMO_MODELS); do \
	  options="$$model --mini --work-dir $(DEMO)/$$model"; \
	  $(PY) tools/train.py $$options --seed 0 && \
	  $(PY) tools/test.py $$options && \
	  $(PY) tools/test.py $$options --aug-test --show-dir $(DEMO)/$$model/overlays && \
	  $(PY) tools/benchmark.py $$options || exit 1; \
	done
	$(PY) tools/leaderboard.py $(DEMO) --out $(DEMO)/leaderboard

lint: $(INSTALLED)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

test: lint
	$(PYTEST)

test-slow: $(INSTALLED)
	$(PYTEST) -m slow

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache
