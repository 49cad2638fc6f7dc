# Everything a developer or CI runs. `make help` lists it.

VENV ?= .venv
PY := $(VENV)/bin/python
# The first of these that is new enough: a name alone says little, and a shim may have nothing behind it.
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3.14 python3 python; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; done)
# mypy's Django plugin loads the settings, which start with nothing less.
SETTINGS := SECRET_KEY=lint BROADCAST_SECRET=lint TICKET_SECRET=lint DATABASE_URL=postgresql:/// REDIS_URL=redis://
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run services test peers shared-code lint fmt demo bench bench-broadcast bench-media bench-uploads rolling-restart soak clean clean-data venv venv-dev

help: ## List these commands.
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | while IFS="$$(printf '\t')" read -r name text; do \
		printf '  make %-15s %s\n' "$$name" "$$text"; done

run: venv ## Run everything on this machine, until Ctrl-C. ARGS=--verbose shows every log line.
	@exec $(PY) -m coursehub.stack run --with-parent $(ARGS)

services: venv ## Run only PostgreSQL, Valkey and Swift (an S3), and print the variables for using them.
	@exec $(PY) -m coursehub.stack services --with-parent $(ARGS)

demo: venv-dev ## Play every use case, films and the library included, against the running stack, or one of its own.
	@exec $(PY) -m demo $(ARGS)

bench: venv-dev ## Measure saves, from HTTP to the event.
	@exec $(PY) -m benchmarks $(ARGS)

bench-broadcast: venv-dev ## Measure the broadcast service beside nchan, Node ws, stock Channels and a limit in C.
	@exec $(PY) -m benchmarks.broadcast $(ARGS)

bench-media: venv-dev ## Measure a library of a million files: pages, searches, usage, 10,000 deletions.
	@exec $(PY) -m benchmarks.media $(ARGS)

bench-uploads: venv-dev ## Measure uploads by tus and direct to storage, beside boto3 alone.
	@exec $(PY) -m benchmarks.uploads $(ARGS)

rolling-restart: venv-dev ## Replace two broadcast processes behind nginx under 5,000 clients; fails if one stays away or misses anything.
	ROLLING_RESTART_CLIENTS=5000 $(PY) -m pytest tests/broadcast/e2e/test_rolling_restart.py $(ARGS)

soak: venv-dev ## Ten minutes of saves, churn and dying servers; fails if an event is lost or memory grows.
	@exec $(PY) -m benchmarks.soak $(ARGS)

test: venv-dev ## Run the tests; without ARGS also hold their coverage to its mark.
ifeq ($(strip $(ARGS)),)
	@rm -f .coverage .coverage.*
	$(PY) -m coverage run -m pytest
	@$(PY) -m coverage combine --quiet
	$(PY) -m coverage report
else
	$(PY) -m pytest $(ARGS)
endif

peers: venv-dev ## Install the clients, the suite and the servers that the tests try WebSockets and uploads with.
	$(PY) -m tests.support.peers
	$(PY) -m tests.support.upload_clients
	$(PY) -m benchmarks.broadcast.tools

shared-code: ## Count the lines of uploads that videos and the library share.
	@$(PYTHON) scripts/shared_code.py

lint: venv-dev ## Check style, types, and who imports whom.
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(SETTINGS) $(PY) -m mypy apps broadcast coursehub
	PYTHONPATH=. $(VENV)/bin/lint-imports

fmt: venv-dev ## Format the code and mend what can be mended by itself.
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

clean: ## Delete the virtual environment and all caches.
	rm -rf "$(VENV)" .coverage .coverage.* htmlcov .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

clean-data: venv ## Delete the embedded database and everything else in COURSEHUB_DATA.
	@$(PY) -m coursehub.stack clean

venv: python
	@$(PYTHON) deploy/venv.py "$(VENV)" requirements.txt

venv-dev: python
	@$(PYTHON) deploy/venv.py "$(VENV)" requirements-dev.txt

.PHONY: python
python:
ifeq ($(PYTHON),)
	@echo 'CourseHub needs Python 3.11 or newer, and found none. Install it, or name it: make run PYTHON=/path/to/python3' >&2
	@exit 1
endif
