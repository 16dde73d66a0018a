# `make` alone lists the targets.
PYTHON := .venv/bin/python
DAYS ?= 42
SCALE ?= 1
STORY ?= 1
AGAINST ?= HEAD
TO ?= origin/deployed
export DAYS SCALE STORY SUPERSET
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
LAKE := tests/faults $(wildcard $(patsubst %,tests/integration/jobs/spark/test_%.py, \
	analytics_mart_etl analytics_mart_realtime delta_log incremental lease quarantine streaming upgrade))
# Targets that run in parallel begin each of their lines with their name.
NAMED = $(if $(BESIDE),2>&1 | sed --unbuffered 's/^/$@ | /')

.DEFAULT_GOAL := help
.PHONY: help install demo live dashboards up down status check lint types validate plan deploy preflight format docs test test-e2e test-rest test-lake test-installs test-fast test-faults test-production test-deploy bench-config bench-anomalies bench-queries bench-findings bench clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# What installs nothing: to check a file must not begin with a download.
$(PYTHON):
	@echo 'error: the Python packages are not installed: run `make install` first' >&2; exit 1

install: ## Install what is missing: Debian packages (as root), Python packages, jars
	@stack/install.sh

demo: install ## Run the whole chain on this machine, on a log that ends now: DAYS=42 at SCALE=1; STORY=0 plants no events
	@$(PYTHON) -m stack demo

live: install ## After a demo, keep clicks coming in real time, followed by the hot tables, until Ctrl-C
	@$(PYTHON) -m stack live

dashboards: install ## Install and start Superset with the dashboards, on the marts of the running stack
	@$(PYTHON) -m stack dashboards

up: install ## Start the embedded servers and Airflow, with the data they had
	@$(PYTHON) -m stack up

down: | $(PYTHON) ## Stop the embedded servers and Airflow
	@$(PYTHON) -m stack down

status: | $(PYTHON) ## Print what is running, and where
	@$(PYTHON) -m stack status

validate: | $(PYTHON) ## Report what is wrong in pipelines/, with line and column
	@$(PYTHON) -m pipeline_config check

check: lint types ## Check everything that needs no server: pipelines, format, lint, types

lint: install validate
	@.venv/bin/ruff format --check --quiet .
	@.venv/bin/ruff check --quiet .

types: install
	@.venv/bin/mypy $(NAMED)

plan: | $(PYTHON) ## Describe what the working tree changes against AGAINST=HEAD
	@$(PYTHON) -m pipeline_config plan --against $(AGAINST); test $$? -ne 1

deploy: install ## Let Airflow run this commit, if it passes the check and the unit tests in a clone (TO=origin/deployed)
	@$(PYTHON) -m pipeline_config deploy --to $(TO) \
		--run 'ln -s $(CURDIR)/jobs/spark/jars jobs/spark/jars' --run 'python -m pytest tests/unit'

preflight: | $(PYTHON) ## Check that everything the pipelines use exists and responds, on the running stack
	@$(PYTHON) -m stack preflight

format: | $(PYTHON) ## Format the code and fix what the linter can fix
	@.venv/bin/ruff format .
	@.venv/bin/ruff check --fix .

docs: install ## Generate docs/data-dictionary.md, docs/configuration.md and the picture of docs/architecture.md
	@$(PYTHON) -m jobs.spark.dictionary > docs/data-dictionary.md
	@$(PYTHON) -m pipeline_config explain > docs/configuration.md
	@$(PYTHON) -m pipeline_config graph | sed -i -e '/^```mermaid/,/^```$$/{//!d}' -e '/^```mermaid/r /dev/stdin' docs/architecture.md

test-faults: install ## Kill servers and jobs at random moments, in full; FAULTS_SEED repeats a run, SOAK_MINUTES=30 is the soak's length
	@FAULTS=full $(PYTHON) -m pytest -m faults

test-production: install ## Run production's parts on four network namespaces, as root: 20 minutes; PRODUCTION_HOME=folder keeps them running
	@commit=$$(git describe --always --dirty); PRODUCTION=1 $(PYTHON) -m pytest tests/production && \
		echo "$$(date -u +%F), commit $$commit" > tests/production/last_green.txt

test-deploy: install ## As root, run deploy/site.yml twice on a fresh Debian in a folder, and deploy/compose.yaml: 20 minutes
	@DEPLOY=1 $(PYTHON) -m pytest tests/deploy

bench-config: install ## Time the check and the loader against check-jsonschema, hand-written DAGs and dag-factory
	@$(PYTHON) -m tests.bench.config

bench-anomalies: install ## Compare the anomaly rules with what the generator injected
	@$(PYTHON) -m tests.bench.anomalies

bench-queries: install ## Time the dashboards' queries on marts of eight years
	@$(PYTHON) -m tests.bench.queries

bench-findings: install ## Count what the search marts find in a log without planted events, and in one with them
	@$(PYTHON) -m tests.bench.findings

bench: install ## Measure the stages against their ceilings: ROWS="etl load" selects, DAYS=28 shortens the log; SHORT=1 KEEP=1 JSON=file
	@$(PYTHON) -m tests.bench $(ROWS) $(if $(filter file,$(origin DAYS)),,--days $(DAYS)) \
		$(if $(SHORT),--short) $(if $(KEEP),--keep) $(if $(JSON),--json $(JSON))

test-fast: install ## Run the unit tests: no servers, two minutes
	@$(PYTHON) -m pytest tests/unit

test: lint ## Run all tests on real servers, in three parallel parts
	@$(MAKE) --no-print-directory --keep-going --jobs BESIDE=1 test-e2e test-rest test-lake test-installs types

test-e2e: install ## Only the tests in a running Airflow
	@$(PYTHON) -m pytest tests/e2e $(NAMED)

test-lake: install ## Only the tests of the lake and the marts, and each kind of fault once
	@$(PYTHON) -m pytest $(LAKE) $(NAMED)

test-rest: install ## Only the tests in none of the other parts
	@$(PYTHON) -m pytest $(addprefix --ignore=,tests/e2e $(LAKE)) $(NAMED)

test-installs: install
	@$(PYTHON) -m stack install-for-tests $(NAMED)

clean: down ## Remove the embedded servers' data
	@rm -rf .stack
