SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.SUFFIXES:
.DEFAULT_GOAL := help
MAKEFLAGS += --warn-undefined-variables --no-builtin-rules --no-print-directory

# What a user may set on the command line.
ENV          ?=
EVENT        ?= {}
export EVENT
ACTION       ?= apply
AUTO_APPROVE ?=
ARCH         ?= x86_64
PYTHON       ?= python3
TERRAFORM    ?= terraform
LOCAL_PORT   ?= 0
SARIF        ?=

# While `make demo` is up, this file leads every target to the local stack instead of AWS.
ifndef LOCAL_STACK
-include .local/environment.mk
endif
LOCAL_STACK ?=
ifneq ($(LOCAL_STACK),)
export TF_DATA_DIR = $(LOCAL_STACK)/$(ENV)/.terraform
BACKEND = -reconfigure -backend-config=path=$(LOCAL_STACK)/$(ENV)/terraform.tfstate
else
BACKEND =
endif

ENVIRONMENTS := $(sort $(notdir $(wildcard terraform/*)))
UV           := .venv/uv/bin/uv
TOOLS        := .venv/tools/bin
OUTPUT       := build/output
CHECKOV      := .venv/checkov/bin/checkov --quiet --compact --skip-download --external-checks-dir policies
PLAN          = $(CURDIR)/$(OUTPUT)/$(ENV).tfplan
TF            = $(TERRAFORM) -chdir=terraform/$(ENV)
LEFTOVERS     = terraform/$(ENV)/leftovers.tf.json

# What a reboot puts in force, and where Terraform remembers what the server was last started with.
PARAMETERS   := module.database.aws_db_parameter_group.main
STARTED_WITH := module.database.terraform_data.started_with

comma := ,

# $(call confirm,question): go on only after a yes; AUTO_APPROVE=1 is one.
confirm = [ "$(AUTO_APPROVE)" = 1 ] || { read -r -p "$(1) [yes/no] " answer && [ "$$answer" = yes ]; } \
  || { echo "Nothing was changed."; exit 1; }

# $(call output,name): an ARN among the outputs of ENV, for "$$output".
output = output=$$($(TF) output -raw $(1) 2>/dev/null) && [[ $$output == arn:* ]] \
  || { echo "$(ENV) is not deployed here: make deploy ENV=$(ENV)" >&2; exit 1; }

##@ Start here

help: ## Show this help
	@awk 'BEGIN { FS = ":.*## " } /^##@ / { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@printf '\nENV is one of: %s\n' "$(ENVIRONMENTS)"

demo: .venv/tools/requirements.txt .venv/runtime/requirements.txt terraform-version ## Deploy prod on this machine, with no AWS account, and look at it work
	@$(TOOLS)/python -m local demo --port $(LOCAL_PORT)

demo-down: .venv/tools/requirements.txt ## Stop the demo and everything it started
	@$(TOOLS)/python -m local down

##@ Environments

plan: environment package terraform-version ## Show what ENV= would change, and save that plan
	@rm -f $(LEFTOVERS)
	@$(TF) init -input=false -lockfile=readonly $(BACKEND) >/dev/null
	@$(TF) state pull | $(TOOLS)/python -m tools.mend $(TF)
	@$(TF) plan -input=false -out=$(PLAN)
	@trap 'rm -f $(LEFTOVERS)' EXIT; \
	  $(TF) show -json $(PLAN) | $(TOOLS)/python -m tools.leftovers $(LEFTOVERS); \
	  [ ! -e $(LEFTOVERS) ] || $(TF) plan -input=false -out=$(PLAN)
	@$(TF) show -json $(PLAN) | $(TOOLS)/python -m tools.preflight

deploy: plan ## Apply the plan of ENV= after asking, wait for the proxy, then invoke the function once
	@$(call confirm,Apply this plan to $(ENV)?)
	@$(TF) apply -input=false $(PLAN)
	@rm -f $(PLAN)
	@$(TF) output -json | $(TOOLS)/python -m tools.await_target
	@$(MAKE) invoke ENV=$(ENV)
	@$(call output,function); $(TOOLS)/python -m tools.prune "$$output"

destroy: environment package terraform-version ## Show what ENV= consists of, ask, and remove it; say how to restore it
	@$(TF) init -input=false -lockfile=readonly $(BACKEND) >/dev/null
	@! $(TF) state pull | grep '"deletion_protection": true' >/dev/null \
	  || { echo "$(ENV) is protected from deletion. First: TF_VAR_deletion_protection=false make deploy ENV=$(ENV)" >&2; exit 1; }
	@$(TF) plan -destroy -input=false -out=$(PLAN)
	@echo "This may take 45 minutes: Lambda deletes a function's network interfaces only some time after the function," \
	  "and until then their security groups and subnets cannot be deleted. Leave it running."
	@$(call confirm,Destroy all of $(ENV)?)
	@outputs=$$($(TF) output -json); \
	  $(TF) apply -input=false $(PLAN); \
	  rm -f $(PLAN); \
	  $(TOOLS)/python -m tools.final_snapshot $(ENV) <<<"$$outputs"

invoke: environment .venv/tools/requirements.txt ## Invoke the function of ENV= with EVENT='{}' and print its answer
	@$(call output,function); $(TOOLS)/python -m tools.invoke "$$output" "$$EVENT"

migrate: environment .venv/tools/requirements.txt ## Let the deployed bootstrap function of ENV= apply what is pending (ACTION=plan: list it)
	@$(call output,migrator); $(TOOLS)/python -m tools.invoke "$$output" '{"action": "$(ACTION)"}'

reboot: environment package .venv/tools/requirements.txt ## Reboot the instance of ENV= after asking, so that its max_connections is in force
	@$(call output,function); database=$$($(TF) output -raw database); region=$$(cut -d : -f 4 <<<"$$output"); \
	  $(TF) plan -input=false -detailed-exitcode -target=$(PARAMETERS) >/dev/null \
	    || { echo "The parameters of $(ENV) are not as its configuration says. First: make deploy ENV=$(ENV)" >&2; exit 1; }; \
	  $(TOOLS)/python -m tools.reboot "$$database" "$$region" --show; \
	  $(call confirm,Reboot $$database? Every connection is lost for about a minute.); \
	  $(TOOLS)/python -m tools.reboot "$$database" "$$region"
	@$(TF) apply -input=false -auto-approve -target=$(STARTED_WITH) -replace=$(STARTED_WITH) >/dev/null

psql: environment .venv/tools/requirements.txt ## Open psql as the application's user of ENV=; on AWS, say how
	@$(call output,function); $(TOOLS)/python -m local.psql "$$output"

environment:
	@$(if $(filter 1,$(words $(filter $(ENVIRONMENTS),$(ENV)))),:,echo "ENV must be one of: $(ENVIRONMENTS) (for example: make plan ENV=dev)" >&2; exit 2)
	@$(if $(LOCAL_STACK),echo "On the local stack at $(AWS_ENDPOINT_URL); 'make demo-down' leads back to AWS.")

terraform-version:
	@command -v $(TERRAFORM) >/dev/null || { echo "Terraform is missing: install 1.11 or newer." >&2; exit 2; }
	@$(TERRAFORM) version -json 2>/dev/null | $(PYTHON) -c 'import json, sys; v = json.load(sys.stdin)["terraform_version"]; \
	  sys.exit(None if tuple(map(int, v.split("-")[0].split(".")[:2])) >= (1, 11) else f"Terraform {v} is too old: 1.11 or newer is needed.")'

##@ Code

test: .venv/tools/requirements.txt .venv/runtime/requirements.txt .venv/checkov/requirements.txt package terraform-version ## Run every test, one full apply of dev and prod among them
	@$(TOOLS)/pytest -n 3 --dist loadfile --no-loadscope-reorder

lint: .venv/tools/requirements.txt terraform-version ## Check the form of HCL, Python and shell
	@$(TERRAFORM) fmt -check -diff -recursive
	@$(TOOLS)/ruff check
	@$(TOOLS)/ruff format --check
	@$(TOOLS)/mypy
	@$(TOOLS)/shellcheck .ci/run
	@$(TOOLS)/hadolint build/Dockerfile
	@$(TOOLS)/zizmor --offline --quiet .github/workflows
	@$(TOOLS)/python -m build.docs --check

docs: .venv/tools/requirements.txt ## Write the parts of the documents that come from the code
	@$(TOOLS)/python -m build.docs

scan: .venv/tools/requirements.txt .venv/checkov/requirements.txt package terraform-version ## Look for insecure settings in the HCL and in both plans (SARIF=file writes them there too)
	@status=0; \
	$(CHECKOV) --directory . --framework terraform secrets github_actions --skip-path tests --skip-path $(OUTPUT) \
	  $(if $(SARIF),--output cli --output sarif --output-file-path console$(comma)$(OUTPUT)/checkov.sarif) || status=$$?; \
	$(if $(SARIF),$(TOOLS)/python -m tools.sarif $(OUTPUT)/checkov.sarif $(SARIF);) \
	exit $$status
	@$(TOOLS)/python -m local run -- $(MAKE) scan-plans

# The plans are made on a local stack, which needs no account. What only an apply will tell counts as given.
scan-plans: export EVAL_TF_PLAN_AFTER_UNKNOWN = 1
scan-plans:
	@for env in $(ENVIRONMENTS); do \
	  $(MAKE) plan ENV=$$env >/dev/null; \
	  TF_DATA_DIR=$(LOCAL_STACK)/$$env/.terraform $(TERRAFORM) -chdir=terraform/$$env show -json $(CURDIR)/$(OUTPUT)/$$env.tfplan \
	    >$(OUTPUT)/$$env.tfplan.json; \
	done
	@$(CHECKOV) $(foreach env,$(ENVIRONMENTS),--file $(OUTPUT)/$(env).tfplan.json) --repo-root-for-plan-enrichment .

##@ Measurements, which are no tests

storm: .venv/tools/requirements.txt ## Send 200 environments at max_connections = 90, directly and through the proxy
	@$(TOOLS)/python -m local.storm

bench: .venv/tools/requirements.txt .venv/runtime/requirements.txt $(OUTPUT)/layer-x86_64.zip ## Measure cold starts, warm invocations and tokens beside their peers
	@PYTHONPATH=.:lambda/layer $(TOOLS)/python tests/benchmarks/run.py

ledger: .venv/tools/requirements.txt ## Write under random faults for a minute and count what was lost or doubled
	@PYTHONPATH=.:lambda/layer $(TOOLS)/python tests/lambda/layer/ledger.py

plan-time: .venv/tools/requirements.txt terraform-version ## Time the plan of prod beside one of the same resources in one flat file
	@PYTHONPATH=. $(TOOLS)/python tests/benchmarks/plan_time.py

mutations: .venv/tools/requirements.txt terraform-version ## Change one thing at a time in modules/ and see whether a plan test notices (SAMPLE=N SEED=S: only N of them)
	@PYTHONPATH=. $(TOOLS)/python tests/mutations/run.py $(if $(SAMPLE),--sample $(SAMPLE)) $(if $(SEED),--seed $(SEED))

##@ Upkeep

clean: ## Remove what make built, tools included
	@[ ! -e .local/environment.mk ] || $(MAKE) demo-down
	@rm -rf .venv .local $(OUTPUT) .pytest_cache .mypy_cache .ruff_cache .hypothesis

##@ Packages

package: $(OUTPUT)/layer-$(ARCH).zip $(OUTPUT)/function.zip $(OUTPUT)/bootstrap.zip ## Build the zips of the layer (ARCH=x86_64|arm64) and the functions

PACKAGER := $(wildcard build/*.py) .venv/tools/requirements.txt .venv/runtime/requirements.txt
sources   = $(shell find $(1) -type f -not -name '*.pyc')

$(OUTPUT)/layer-%.zip: $(PACKAGER) $(call sources,lambda/layer build/certificates build/licenses) build/Dockerfile build/Dockerfile.dockerignore build/requirements/layer.txt
	@$(TOOLS)/python -m build.package layer --arch $*

# For the local stack where it cannot run the layer of Lambda: another Python, another system.
$(OUTPUT)/layer-local.zip: $(PACKAGER) $(call sources,lambda/layer build/certificates build/licenses) build/requirements/layer.txt
	@$(TOOLS)/python -m build.package layer-local

$(OUTPUT)/function.zip: $(PACKAGER) $(call sources,lambda/function)
	@$(TOOLS)/python -m build.package function

$(OUTPUT)/bootstrap.zip: $(PACKAGER) $(call sources,lambda/bootstrap)
	@$(TOOLS)/python -m build.package bootstrap

lock: $(UV) ## Write the pinned requirements again from the .in files
	@cd build/requirements && for name in uv tools runtime checkov layer terraform; do \
	  ../../$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	    --custom-compile-command "make lock" $$name.in --output-file $$name.txt; done
	@cd build/requirements && ../../$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-deps \
	  --custom-compile-command "make lock" provider.in --output-file provider.txt

# One virtual environment a purpose, made again when its requirements change.
$(UV): build/requirements/uv.txt
	@$(PYTHON) -m venv .venv/uv
	@.venv/uv/bin/pip install --quiet --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes --requirement $<
	@touch $@

# uv finds or fetches the Python of the Lambda runtime; PYENV_VERSION lets it see pyenv's.
.venv/%/requirements.txt: build/requirements/%.txt | $(UV)
	@echo "Installing .venv/$*"
	@PYENV_VERSION=3.13 $(UV) venv --quiet --clear --python 3.13 .venv/$* 2>/dev/null \
	  || { echo "No Python 3.13 found or fetched: .venv/$* uses $$($(PYTHON) --version)."; \
	       $(UV) venv --quiet --clear --python "$$(command -v $(PYTHON))" .venv/$*; }
	@$(UV) pip sync --quiet --require-hashes --python .venv/$* $<
	@cp $< $@

.PHONY: help demo demo-down plan deploy destroy invoke migrate psql environment terraform-version test lint scan scan-plans storm bench ledger clean package lock docs plan-time mutations
