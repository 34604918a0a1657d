# One place for every command; `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
WORKERS ?= 5
HELM ?= helm
PLATFORMS ?= linux/amd64,linux/arm64
# Without its notice of its successor: docs/decisions/0052-material-for-mkdocs.md
MKDOCS := NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs

.PHONY: help
help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} \
	  /^##@/ {printf "\n\033[1m%s\033[0m\n", substr($$0, 5)} \
	  /^[a-zA-Z_-]+:.*## / {printf "  \033[36m%-14s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.installed: requirements/dev.txt pyproject.toml
	@echo "Installing the Python dependencies into $(VENV) …"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@# --no-deps: the lock file is complete, and leaves out what python-jose only names (docs/decisions/0002)
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/dev.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: venv
venv: $(VENV)/.installed

# The libraries of those that sign for the operator, apart from what everything else needs
$(VENV)/signers/.installed: requirements/signers.txt $(VENV)/.installed
	@rm -rf $(VENV)/signers
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --no-deps \
	  --target $(VENV)/signers --requirement requirements/signers.txt
	@touch $@

.PHONY: signers
signers: $(VENV)/signers/.installed

##@ Try it
.PHONY: demo
demo: venv ## From a manifest to a token on this machine (KEEP=1: leave it running; NODE=1: with real pods)
	@$(BIN)/python -m tools.demo

.PHONY: demo-down
demo-down: venv ## Stop a demo that was left running
	@$(BIN)/python -m tools.demo down

##@ Test
.PHONY: test
test: venv signers ## All tests, on a real control plane too (WORKERS=3: three files at a time)
	@$(BIN)/python -m tools.cluster build > /dev/null
	@$(BIN)/python -m tools.cluster helm3 > /dev/null
	@# What takes longest comes first, by tests/conftest.py, and not the files with the most tests
	@$(BIN)/pytest --ignore=tests/node --numprocesses=$(WORKERS) --dist=loadfile --no-loadscope-reorder
	@$(MAKE) --no-print-directory test-node

.PHONY: test-node
test-node: venv ## The chart on a node with real pods (Linux, root, cgroups of version 1, Debian's packages; skipped elsewhere)
	@$(BIN)/pytest tests/node

.PHONY: test-unit
test-unit: venv ## The fast ones: neither control plane, Helm nor browser
	@$(BIN)/pytest --ignore=tests/e2e --ignore=tests/tools --ignore=tests/chart --ignore=tests/node --ignore=tests/signers \
	  --ignore=tests/docs --ignore=tests/page

.PHONY: test-signers
test-signers: venv signers ## Signing by keys that others hold, by their own libraries (needs SoftHSM)
	@$(BIN)/pytest tests/signers

.PHONY: bench
bench: venv ## Measure the figures (BENCH="--only burst": some; BENCH=-h: how)
	@$(BIN)/python -m bench $(BENCH)

##@ Develop
.PHONY: lock
lock: venv ## Renew the hash-locked requirement files from pyproject.toml
	@tools/lock

.PHONY: generate
generate: venv ## Write what comes from the code: CRDs, chart, install.yaml, tables of the docs
	@$(BIN)/python -m tools.generate

.PHONY: format
format: venv ## Format, and fix what ruff can fix
	@$(BIN)/ruff format --quiet . && $(BIN)/ruff check --quiet --fix .

.PHONY: check
check: venv ## Lint, words, types, layers, generated files, links of the docs
	@$(BIN)/ruff format --check --quiet . || { echo "run 'make format'"; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/codespell --dictionary - --dictionary tools/vocabulary.txt src tests tools bench deploy docs *.md mkdocs.yml Makefile action.yml .pre-commit-hooks.yaml
	@$(BIN)/mypy
	@$(BIN)/lint-imports | tail -3
	@$(BIN)/python -m tools.generate --check
	@# Not --quiet, by which mkdocs doesn't see its own warnings
	@mkdir -p build
	@$(MKDOCS) build --strict > build/mkdocs.log 2>&1 || { cat build/mkdocs.log; exit 1; }

.PHONY: docs
docs: venv ## Build the site of docs, and serve it at http://127.0.0.1:8000 (Ctrl-C ends it)
	@$(MKDOCS) serve --strict

##@ Image
.PHONY: image
image: sbom ## Build the image by docker, podman or buildah (IMAGE=name:tag, BASE_IMAGE=name), its SBOM beside it
	@$(PYTHON) -m tools.image build

.PHONY: image-check
image-check: ## Build it twice, compare the two, and start it as a pod would
	@$(PYTHON) -m tools.image check

.PHONY: image-archive
image-archive: ## Build it without a registry, as a file that the tests' node imports
	@$(PYTHON) -m tools.image archive

.PHONY: sbom
sbom: venv ## Write what the image is made of to build/sbom.cdx.json, CycloneDX (SIGNER=aws, TRACING=1: with that)
	@$(BIN)/python -m tools.supply_chain.sbom

##@ Release
.PHONY: audit
audit: venv ## Ask OSV for known vulnerabilities of all that is locked (exit code 2 of make: some, or not known)
	@$(BIN)/python -m tools.supply_chain.audit

.PHONY: workflows
workflows: venv ## Lint the workflows for GitHub, by actionlint (takes Go, once)
	@$(BIN)/python -m tools.supply_chain.workflows

.PHONY: release-notes
release-notes: venv ## Write the change log's section of a release to build/release-notes.md (TAG=v1.2.3)
	@mkdir -p build
	@$(BIN)/python -m tools.supply_chain.release_notes $(TAG) > build/release-notes.md

.PHONY: release-check
release-check: check ## Check, and that the commit is on main, whose commits were tested
	@git merge-base --is-ancestor HEAD origin/main || { echo "This commit isn't on main: releases are made of what was tested"; exit 1; }

.PHONY: release-names
release-names: ## Say for the workflow what a release is called (TAG=v1.2.3 GITHUB_REPOSITORY=owner/name)
	@# Names in a registry have no capitals, and the chart's image has its appVersion for a tag
	@repository=ghcr.io/$$(tr A-Z a-z <<< "$$GITHUB_REPOSITORY") && printf '%s\n' "REPOSITORY=$$repository" \
	  "IMAGE=$$repository:$${TAG#v}" "CHART_REPOSITORY=oci://$${repository%/*}/charts" >> "$${GITHUB_ENV:-/dev/stdout}"

.PHONY: image-push
image-push: sbom ## Build the image for all architectures by docker, and push it (IMAGE=registry/name:tag)
	@BUILDER=docker BUILD_ARGS="--platform=$(PLATFORMS) --push --metadata-file=build/image.json" $(PYTHON) -m tools.image build
	@$(PYTHON) -c 'import json; print("digest=" + json.load(open("build/image.json"))["containerimage.digest"])' \
	  | tee -a "$${GITHUB_OUTPUT:-/dev/null}" | cut -d= -f2 > build/image.digest

.PHONY: image-sign
image-sign: ## Sign what was pushed, and attest its SBOM, by cosign without a key (IMAGE as of image-push)
	@image='$(IMAGE)' && pushed="$${image%:*}@$$(cat build/image.digest)" && cosign sign --yes "$$pushed" \
	  && cosign attest --yes --type cyclonedx --predicate build/sbom.cdx.json "$$pushed"

.PHONY: chart-package
chart-package: ## Package the chart to build/, by helm (HELM=helm)
	@mkdir -p build && rm -f build/maskinporten-operator-*.tgz
	@$(HELM) package deploy/chart --destination build

.PHONY: chart-push
chart-push: chart-package ## Push the chart as an OCI artifact and sign it (CHART_REPOSITORY=oci://registry/charts)
	@$(HELM) push build/maskinporten-operator-*.tgz $(CHART_REPOSITORY) 2>&1 | tee build/chart.pushed
	@cosign sign --yes $(CHART_REPOSITORY:oci://%=%)/maskinporten-operator@$$(sed -n 's/^Digest: *//p' build/chart.pushed)

.PHONY: release
release: release-notes ## Make the release of a tag on GitHub, by gh (TAG=v1.2.3)
	@gh release create $(TAG) --verify-tag --title $(TAG) --notes-file build/release-notes.md \
	  build/maskinporten-operator-*.tgz build/sbom.cdx.json

##@ Local cluster
.PHONY: cluster
cluster: venv ## Start a control plane here (CLUSTER=kind: with kind; CLUSTER=current: take your context)
	@$(BIN)/python -m tools.cluster up

.PHONY: cluster-down
cluster-down: venv ## Stop it and remove its files
	@$(BIN)/python -m tools.cluster down

.PHONY: node
node: venv ## Start a cluster with a node and real pods here (as test-node)
	@$(BIN)/python -m tools.node up

.PHONY: node-down
node-down: venv ## Stop it and remove its files
	@$(BIN)/python -m tools.node down
