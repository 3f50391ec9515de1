# Everything a developer types. Needs Python >= 3.11, git and make; the rest is put into .venv by pip,
# from the versions and hashes in locks/, and from Debian for the tests where this user may install.

SHELL := /bin/sh
VENV  ?= .venv
BIN   := $(VENV)/bin
KEEP  ?=

# The first Python of the machine that is new enough; `make PYTHON=/path/to/python3.13` names another.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14; do \
  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && command -v $$p && break; done)

PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
BROWSER := tests/browser/node_modules
DEBIAN = $(shell sed '/^\#/d' tests/debian-packages.txt)
VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' automator/__init__.py)
export EXTRAS PACKAGES

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow check format bench replay docs screenshots audit sbom dist image image-test lock clean debian

help: ## this list
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/:[^#]*## /\t/' | \
	  while IFS="$$(printf '\t')" read -r name text; do printf '  make %-11s %s\n' "$$name" "$$text"; done

demo: $(VENV)/.runtime ## the whole job on a small registry and config repo of its own; KEEP=1 keeps them running
	@$(BIN)/automator demo $(if $(filter-out 0 no,$(KEEP)),--keep)

test: $(VENV)/.dev debian ## the tests, but for the slow ones (ARGS='-k name' for some of them)
	@$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow" $(ARGS)

test-slow: $(VENV)/.dev debian $(BROWSER)/.made ## the tests that take minutes
	@$(BIN)/python -m pytest -n auto --dist worksteal -m slow --timeout 1200 --hypothesis-profile slow $(ARGS) || \
	  { status=$$?; [ $$status -eq 5 ] && echo "no slow tests" || exit $$status; }

check: $(VENV)/.dev ## linters, types, and who may import whom
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

format: $(VENV)/.dev ## lay the source out as `make check` wants it
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(VENV)/.dev ## measure a cycle against git's own speed (ARGS='--help' for the choices)
	@$(BIN)/python -m bench $(ARGS)

replay: $(VENV)/.dev ## recorded commits of real config repos through the rewriter (ARGS=--verbose names each case)
	@$(BIN)/python -m bench.replay $(ARGS)

docs: $(VENV)/.runtime ## what of docs/ comes from the program: the schemas, every reason code
	@for kind in policy rules freeze; do $(BIN)/automator schema $$kind > docs/schema/$$kind.schema.json || exit; done
	@$(BIN)/python -m bench.codes

screenshots: $(VENV)/.dev debian ## the pictures in docs/images, of the dashboard over the demo's parts
	@$(BIN)/python -m bench.pictures

image: ## build the container image (ENGINE=, IMAGE=name:tag, EXTRAS=, PACKAGES=: docs/install.md)
	@deploy/image/build $(or $(IMAGE),automator:$(VERSION))

image-test: $(VENV)/.dev debian ## build the image from Debian's packages, and let it make a release
	@$(BIN)/python -m pytest -p no:cacheprovider -m slow -rP --timeout 1200 tests/slow/test_image.py $(ARGS)

audit: $(VENV)/.runtime ## ask an advisory source about every locked package (ARGS='--source URL', '--accept ID')
	@$(BIN)/python -m deploy.supply.audit $(ARGS)

sbom: $(VENV)/.runtime ## what automator and each extra is made of, as CycloneDX, in dist/
	@for lock in runtime $(patsubst locks/%.txt,%,$(wildcard locks/extra-*.txt)); do \
	  $(BIN)/python -m deploy.supply.sbom --lock locks/$$lock.txt \
	    --output dist/automator-$(VERSION)-$$lock.cdx.json || exit; done

dist: $(VENV)/.runtime ## wheel, sdist, SBOMs and their checksums in dist/: the same source, the same bytes
	@rm -rf dist
	@$(BIN)/python -m hatchling build --directory dist
	@$(MAKE) --no-print-directory sbom
	@cd dist && sha256sum -- * > SHA256SUMS && cat SHA256SUMS

lock: $(VENV)/.lock ## write locks/ anew from pyproject.toml, newest versions that fit (Python 3.11)
	@$(VENV)/lock/bin/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
	  { echo "make lock: needs Python 3.11, the oldest that is supported: make lock PYTHON=python3.11" >&2; exit 1; }
	@rm -f locks/*.txt
	@$(PIP_COMPILE) --output-file locks/runtime.txt pyproject.toml
	@$(PIP_COMPILE) --extra dev --constraint locks/runtime.txt --output-file locks/dev.txt pyproject.toml
	@for extra in notify aws azure google; do \
	  $(PIP_COMPILE) --extra $$extra --constraint locks/dev.txt --output-file locks/extra-$$extra.txt pyproject.toml \
	    || exit; done
	@$(PIP_COMPILE) --build-deps-for editable --build-deps-for wheel --only-build-deps \
	  --constraint locks/dev.txt --output-file locks/build.txt pyproject.toml

PIP_COMPILE = CUSTOM_COMPILE_COMMAND="make lock" $(VENV)/lock/bin/pip-compile --quiet --generate-hashes \
  --allow-unsafe --strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host

clean: ## remove .venv and everything that was built or cached
	@rm -rf $(VENV) dist .build $(BROWSER) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

# -- environments --------------------------------------------------------------------------------
# A stamp file says which lock files an environment was made from; a newer lock makes it anew.

debian:
	@.ci/debian-packages $(DEBIAN)

# What the tests of the dashboard run inside of a browser; where there is no npm, those are skipped.
$(BROWSER)/.made: tests/browser/package-lock.json
	@command -v npm >/dev/null || .ci/debian-packages npm
	@if command -v npm >/dev/null; then \
	  cd tests/browser && npm ci --no-audit --no-fund --silent && touch node_modules/.made; \
	else echo "no npm here: tests of the dashboard's accessibility are skipped"; fi

$(VENV)/.made:
	@[ -n "$(PYTHON)" ] || { echo "automator needs Python 3.11 or newer; name one with PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || .ci/debian-packages \
	  "$$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
	  { echo "$(PYTHON) cannot make environments: install its venv package (Debian: python3-venv)" >&2; exit 1; }
	@echo "making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.runtime: $(VENV)/.made locks/runtime.txt locks/build.txt pyproject.toml
	@echo "installing what automator needs"
	@$(PIP) install --require-hashes -r locks/runtime.txt -r locks/build.txt
	@$(PIP) install --no-deps --no-build-isolation --no-index --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime locks/dev.txt
	@echo "installing what its tests and linters need"
	@$(PIP) install --require-hashes -r locks/dev.txt
	@touch $@

$(VENV)/.lock: $(VENV)/.made
	@$(PYTHON) -m venv --clear $(VENV)/lock
	@$(VENV)/lock/bin/python -m pip --disable-pip-version-check --quiet install pip-tools
	@touch $@
