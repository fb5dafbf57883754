SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.SUFFIXES:
.DEFAULT_GOAL := help
MAKEFLAGS += --warn-undefined-variables --no-builtin-rules --no-print-directory

# $(call odd,path): what no recipe could hold.
odd = $(filter-out 1,$(words $(1)))$(strip $(foreach character,' " ` $$ ; & | < > * ? \,$(findstring $(character),$(1))))
ifneq ($(call odd,$(CURDIR)),)
$(error make does not work in a folder whose path has a space or a quote: $(CURDIR))
endif

ENVIRONMENTS := $(sort $(notdir $(wildcard terraform/*)))
# Examples that every target takes as an environment. Function and migrations of both are in examples/aurora.
override CLUSTERS := aurora aurora-dev

# What a user may set: the first nineteen on the command line only, the others in the environment too.
$(foreach name,ENV DEMO ACTION FILE AUTO_APPROVE ARCH OF FOLLOW JSON MIGRATIONS FUNCTION HANDLER PYTHON_VERSION RATE TRANSACTION_MS INVOCATION_MS PEAK CLASS CLUSTER,$(if $(filter command,$(origin $(name))),,$(eval override $(name) :=)))
ENV          ?=
DEMO         ?=
ACTION       ?=
FILE         ?=
AUTO_APPROVE ?=
ARCH         ?=
OF           ?=
FOLLOW       ?=
JSON         ?=
RATE         ?=
TRANSACTION_MS ?=
INVOCATION_MS ?=
PEAK         ?=
CLASS        ?=
CLUSTER      ?=
FUNCTION     ?=
HANDLER      ?=
PYTHON_VERSION ?=
DRIVER       ?= pins
MIGRATIONS   ?=
EVENT        ?= {}
LOCAL_PORT   ?= 0
LOCAL_STACK  ?=
OPTIONS      ?=
PG           ?=
PYTHON       ?= python3
SAMPLE       ?=
SARIF        ?=
SEED         ?=
SOURCES      ?=
TERRAFORM    ?= terraform

stack-given := $(filter command,$(origin LOCAL_STACK))

# As it was given: make would expand what stands in it. Recipes read free text from the environment.
$(foreach name,ENV DEMO ACTION FILE AUTO_APPROVE ARCH OF FOLLOW JSON MIGRATIONS FUNCTION HANDLER PYTHON_VERSION RATE TRANSACTION_MS INVOCATION_MS PEAK CLASS CLUSTER EVENT LOCAL_PORT LOCAL_STACK OPTIONS PG PYTHON SAMPLE SARIF SEED TERRAFORM DRIVER SOURCES,\
  $(eval override $(name) := $$(value $(name))))
export DEMO DRIVER EVENT FUNCTION HANDLER LOCAL_PORT OPTIONS PG SAMPLE SARIF SEED RATE TRANSACTION_MS INVOCATION_MS PEAK CLASS SOURCES

# $(call one-of,NAME,values,example): refuse any other value before a recipe or a path holds it.
define one-of
override $(1) := $$(strip $$($(1)))
ifneq ($$($(1)),$$(filter $(2),$$(firstword $$($(1)))))
$$(error $(1) must be one of: $(2)$(3))
endif
endef
$(eval $(call one-of,ENV,$(ENVIRONMENTS) $(CLUSTERS), (for example: make plan ENV=dev)))
$(eval $(call one-of,DEMO,prod aurora,))
$(eval $(call one-of,ACTION,apply plan record,))
$(eval $(call one-of,FILE,$(notdir $(wildcard lambda/bootstrap/migrations/*.sql)),))
$(eval $(call one-of,AUTO_APPROVE,1,))
$(eval $(call one-of,ARCH,x86_64 arm64,))
$(eval $(call one-of,OF,function bootstrap proxy database,))
$(eval $(call one-of,FOLLOW,1,))
$(eval $(call one-of,JSON,1,))
$(eval $(call one-of,CLUSTER,1,))
$(eval $(call one-of,PYTHON_VERSION,3.12 3.13 3.14,))
ifneq ($(if $(MIGRATIONS),$(call odd,$(MIGRATIONS))),)
$(error MIGRATIONS must be the path of one folder, without a space or a quote)
endif
override ACTION := $(or $(ACTION),apply)
override ROOT := $(if $(filter $(CLUSTERS),$(ENV)),examples,terraform)/$(ENV)

# What ENV declares of a function of its own, see tools/own_function.py.
override DECLARED := $(if $(ENV),$(wildcard $(ROOT)/function_override.tf.json))
declared = $(if $(DECLARED),$(shell sed -n 's/.*"$(1)": "\([a-z0-9_.]*\)".*/\1/p' $(DECLARED)))
override ARCH := $(or $(ARCH),$(call declared,ARCH),x86_64)
override PYTHON_VERSION := $(or $(PYTHON_VERSION),$(call declared,PYTHON_VERSION),3.13)

# While `make demo` is up, its folder leads every target to the local stack instead of AWS.
ifeq ($(stack-given)$(LOCAL_STACK),)
override LOCAL_STACK := $(if $(wildcard .local/environment.mk),$(CURDIR)/.local)
endif
# There, and in what never calls AWS, nothing of the user's own AWS settings is seen.
ifneq ($(LOCAL_STACK)$(filter demo test test-examples scan size storm waits bench fuzz drivers ledger neighbours plan-time proxy-speed changes mutations,$(MAKECMDGOALS)),)
unexport $(filter AWS_% MOTO_% TF_WORKSPACE,$(.VARIABLES))
endif
ifneq ($(LOCAL_STACK),)
ifneq ($(call odd,$(LOCAL_STACK)),)
$(error LOCAL_STACK must be the path of a stack's folder, without a space or a quote)
endif
ifneq ($(filter-out help demo-down clean,$(MAKECMDGOALS)),)
ifneq ($(shell $(PYTHON) -m local.record $(LOCAL_STACK)),up)
$(error The local stack in $(LOCAL_STACK) died: `make demo-down` removes what is left of it and leads back to AWS)
endif
endif
-include $(LOCAL_STACK)/environment.mk
override TF_DATA_DIR = $(LOCAL_STACK)/$(ENV)/.terraform
export TF_DATA_DIR
override BACKEND = -reconfigure -backend-config=path=$(LOCAL_STACK)/$(ENV)/terraform.tfstate
override PLANS   = $(LOCAL_STACK)/$(ENV)
else
override BACKEND =
override PLANS   = $(CURDIR)/$(OUTPUT)
endif

# Where the registry is out of reach, tools/terraform.py writes a configuration that leads to a mirror.
ifeq ($(shell [ -f "$${TF_CLI_CONFIG_FILE:-}" ] && echo given),)
override TF_CLI_CONFIG_FILE = $(addprefix $(CURDIR)/,$(shell ls .venv/terraform.rc 2>/dev/null))
export TF_CLI_CONFIG_FILE
endif

override UV           := .venv/uv/bin/uv
override TOOLS        := .venv/tools/bin
override OUTPUT       := build/output
override OF_CLUSTERS  := $(OUTPUT)/function-examples-aurora.zip $(OUTPUT)/bootstrap-aurora.zip
override CHECKOV      := .venv/checkov/bin/checkov --quiet --compact --skip-download --external-checks-dir policies
override PLAN          = $(PLANS)/$(ENV).tfplan
override TF            = $(TERRAFORM) -chdir=$(ROOT)
override LEFTOVERS     = $(ROOT)/leftovers.tf.json

# What a reboot puts in force, and where Terraform remembers what the server was last started with.
override DATABASE      = module.$(if $(shell grep -ls '^module "cluster"' $(ROOT)/*.tf),cluster,database)
override PARAMETERS    = -target=$(DATABASE).aws_db_parameter_group.main -target=$(DATABASE).aws_rds_cluster_parameter_group.main
override STARTED_WITH  = $(DATABASE).terraform_data.started_with

comma := ,

# A plan is made, kept and applied where the state is, by the account that the state is of.
define init
@rm -f $(LEFTOVERS)
@$(TF) init -input=false -lockfile=readonly $(BACKEND) >/dev/null
@$(TF) state pull | $(TOOLS)/python -m tools.account $(ROOT)
endef

# First what a broken-off apply made is kept; then log groups that AWS made again are adopted by a second plan. At the end
# stands what the plan comes to. Its JSON is asked for once, since that takes seconds.
define make-plan
$(init)
@$(TF) state pull | $(TOOLS)/python -m tools.mend $(TF)
@$(TF) plan -input=false -out=$(PLAN)
@umask 077; $(TF) show -json $(PLAN) >$(PLAN).json
@trap 'rm -f $(LEFTOVERS)' EXIT; \
  $(TOOLS)/python -m tools.leftovers $(LEFTOVERS) <$(PLAN).json; \
  if [ -e $(LEFTOVERS) ]; then \
    $(TF) plan -input=false -out=$(PLAN); \
    $(TF) show -json $(PLAN) >$(PLAN).json; \
  fi
@$(TOOLS)/python -m tools.preflight <$(PLAN).json
@$(TOOLS)/python -m tools.plan_summary $(ENV) $(if $(filter plan,$@),--markdown $(PLAN).md) <$(PLAN).json
endef

# $(call confirm,question): go on only after a yes; AUTO_APPROVE=1 is one.
confirm = $(TOOLS)/python -m tools.account $(ROOT) --ask "$(1)" $(if $(AUTO_APPROVE),--yes) \
  || { rm -f $(PLAN) $(PLAN).json; exit 1; }

# $(call output,name): an ARN among the outputs of ENV, for "$$output".
output = output=$$($(TF) output -raw $(1) 2>/dev/null) && [[ $$output == arn:* ]] \
  || { echo "$(ENV) is not deployed here: make deploy ENV=$(ENV)" >&2; exit 1; }; \
  $(TOOLS)/python -m tools.account $(ROOT) --arn "$$output"

##@ Start here

help: ## Show this help
	@awk 'BEGIN { FS = ":.*## " } /^##@ / { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@printf '\nENV is one of: %s\n' "$(ENVIRONMENTS) $(CLUSTERS)"

demo: .venv/tools/requirements.txt .venv/runtime/requirements.txt terraform-version ## Deploy prod on this machine, with no AWS account, and look at it work (DEMO=aurora: a cluster, and a failover under load)
	@$(TOOLS)/python -m local demo $(DEMO) --port "$$LOCAL_PORT"

demo-down: .venv/tools/requirements.txt ## Stop the demo and everything it started
	@$(TOOLS)/python -m local down

proxy: .venv/tools/requirements.txt ## Put the stand-in for RDS Proxy in front of PG=postgresql://… (OPTIONS="--watch --borrow-timeout 5")
	@[ -n "$$PG" ] || { echo "PG must be a URL (for example: make proxy PG=postgresql://user:password@localhost/database)" >&2; exit 2; }
	@DATABASE_URL="$$PG" exec $(TOOLS)/python -m local.rds_proxy $$OPTIONS

size: ## Say which class, pool and reserve a load takes and what it costs: RATE=200 TRANSACTION_MS=20 (PEAK= INVOCATION_MS= CLASS= JSON=1)
	@$(PYTHON) -m tools.size $(if $(JSON),--json) --rate="$$RATE" --transaction-ms="$$TRANSACTION_MS" --peak="$$PEAK" \
	  --invocation-ms="$$INVOCATION_MS" --class="$$CLASS"

##@ Environments

# A plan that is shown is of one make alone: no other can put another in its place while the question is open.
deploy destroy reboot: override PLAN = $(PLANS)/$(ENV)-$$PPID.tfplan

plan: environment package terraform-version .venv/tools/requirements.txt ## Show what ENV= would change and what follows, and save that plan
	$(make-plan)
	@rm -f $(PLAN).json

deploy: environment package terraform-version .venv/tools/requirements.txt ## Apply a plan of ENV= after asking, wait for the proxy, then invoke the function once
	$(make-plan)
	@changed=$$($(TOOLS)/python -m tools.plan_summary $(ENV) --changed <$(PLAN).json); \
	  if [ "$$changed" = yes ]; then \
	    $(call confirm,Apply this plan to $(ENV)?); \
	    $(TF) apply -input=false $(PLAN); \
	  fi
	@rm -f $(PLAN) $(PLAN).json
	@$(TF) output -json | $(TOOLS)/python -m tools.await_target
	@$(MAKE) invoke ENV=$(ENV) LOCAL_STACK=$(LOCAL_STACK)
	@$(call output,function_arn); $(TOOLS)/python -m tools.prune "$$output"

destroy: environment package terraform-version .venv/tools/requirements.txt ## Show what ENV= consists of, ask, and remove it; say how to restore it
	$(init)
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
	@$(call output,function_arn); $(TOOLS)/python -m tools.invoke "$$output" "$$EVENT"

migrate: environment .venv/tools/requirements.txt ## Let the bootstrap function of ENV= apply what is pending (ACTION=plan: list it; ACTION=record FILE=NAME: it was run by hand)
	@$(call output,bootstrap_arn); $(TOOLS)/python -m tools.invoke "$$output" \
	  '{"action": "$(ACTION)"$(if $(FILE),$(comma) "file": "$(FILE)")}'

reboot: environment package .venv/tools/requirements.txt ## Reboot the database of ENV= after asking, so that its max_connections is in force
	@$(call output,function_arn); database=$$($(TF) output -raw database_identifier); region=$$(cut -d : -f 4 <<<"$$output"); \
	  $(TF) plan -input=false -detailed-exitcode $(PARAMETERS) >/dev/null \
	    || { echo "The parameters of $(ENV) are not as its configuration says. First: make deploy ENV=$(ENV)" >&2; exit 1; }; \
	  $(TOOLS)/python -m tools.reboot "$$database" "$$region" --show; \
	  $(call confirm,Reboot $$database? Every connection is lost for about a minute.); \
	  $(TOOLS)/python -m tools.reboot "$$database" "$$region"
	@$(TF) apply -input=false -auto-approve -target=$(STARTED_WITH) -replace=$(STARTED_WITH) >/dev/null

doctor: environment .venv/tools/requirements.txt ## Say layer by layer what is wrong with ENV= and how to mend it; change nothing (JSON=1: for programs)
	@$(TOOLS)/python -m tools.doctor $(if $(JSON),--json) $(ROOT) $(TF)

status: environment .venv/tools/requirements.txt ## Show versions, endpoints, connections, migration, rotation and alarms of ENV=
	@$(call output,function_arn); $(TOOLS)/python -m tools.status $(ROOT) $(TF)

logs: environment .venv/tools/requirements.txt ## Print what ENV= logged in the last hour (OF=function|bootstrap|proxy|database; FOLLOW=1: and what comes)
	@$(call output,function_arn); $(TF) output -json \
	  | $(TOOLS)/python -m tools.logs $(if $(OF),--of $(OF)) $(if $(FOLLOW),--follow)

psql: environment .venv/tools/requirements.txt ## Open psql as the application's user of ENV=; on AWS, say how
	@$(call output,function_arn); $(TOOLS)/python -m tools.psql "$$output"

environment:
	@$(if $(ENV),:,$(error ENV must be one of: $(ENVIRONMENTS) $(CLUSTERS) (for example: make plan ENV=dev). Only the command line counts))
	@$(if $(LOCAL_STACK),$(if $(JSON),:,echo "On the local stack at $(AWS_ENDPOINT_URL); 'make demo-down' leads back to AWS."))

terraform-version:
	@$(PYTHON) -m tools.terraform $(TERRAFORM)

##@ Code

# The tests start Python a thousand times: it may keep what it compiles, wherever make was started from.
ifneq ($(filter test test-examples,$(MAKECMDGOALS)),)
unexport PYTHONDONTWRITEBYTECODE
endif

override PYTEST := $(TOOLS)/pytest --dist loadfile --no-loadscope-reorder
to-test = .venv/tools/requirements.txt .venv/runtime/requirements.txt .venv/checkov/requirements.txt package $(OF_CLUSTERS) terraform-version

setup: $(to-test) ## Install what lint, scan and the tests need, and build the zips; each does it by itself where it is missing

test: $(to-test) ## Run every test but those of test-examples
	@$(PYTEST) -n 4 -m "not applied"

test-examples: $(to-test) ## Apply dev, prod and single modules on local stacks; break, mend, restore and destroy them
	@$(PYTEST) -n 6 -m applied

lint: .venv/tools/requirements.txt terraform-version ## Check the form of HCL, Python and shell
	@$(TERRAFORM) fmt -check -diff -recursive
	@$(TOOLS)/ruff check
	@$(TOOLS)/ruff format --check
	@$(TOOLS)/mypy
	@$(TOOLS)/shellcheck .ci/run
	@$(TOOLS)/hadolint build/Dockerfile
	@$(TOOLS)/zizmor --offline --quiet .github/workflows examples/pinning-in-ci/pins.yml
	@$(TOOLS)/python -m tools.docs --check

docs: .venv/tools/requirements.txt ## Write the parts of the documents that come from the code
	@$(TOOLS)/python -m tools.docs

scan: .venv/tools/requirements.txt .venv/checkov/requirements.txt package terraform-version ## Look for insecure settings in the HCL and in both plans (SARIF=file writes them there too)
	@status=0; \
	$(CHECKOV) --directory . --framework terraform secrets github_actions --skip-path tests --skip-path $(OUTPUT) \
	  $(if $(SARIF),--output cli --output sarif --output-file-path console$(comma)$(OUTPUT)/checkov.sarif) || status=$$?; \
	$(if $(SARIF),$(TOOLS)/python -m tools.sarif $(OUTPUT)/checkov.sarif "$$SARIF";) \
	exit $$status
	@$(TOOLS)/python -m local run -- $(MAKE) scan-plans

# The plans are made on a local stack, which needs no account. What only an apply will tell counts as given.
scan-plans: export EVAL_TF_PLAN_AFTER_UNKNOWN = 1
scan-plans:
	@for env in $(ENVIRONMENTS); do \
	  $(MAKE) plan ENV=$$env >/dev/null; \
	  TF_DATA_DIR=$(LOCAL_STACK)/$$env/.terraform $(TERRAFORM) -chdir=terraform/$$env show -json $(LOCAL_STACK)/$$env/$$env.tfplan \
	    >$(OUTPUT)/$$env.tfplan.json; \
	done
	@$(CHECKOV) $(foreach env,$(ENVIRONMENTS),--file $(OUTPUT)/$(env).tfplan.json) --repo-root-for-plan-enrichment .

##@ Measurements, which are no tests

storm: .venv/tools/requirements.txt ## Send 50 to 2,000 environments at max_connections = 90: directly, through the proxy, through PgBouncer (3 minutes; CLUSTER=1: over a cluster that fails over)
	@$(TOOLS)/python -m local.storm $(if $(CLUSTER),--cluster)

waits: .venv/tools/requirements.txt ## Compare the waits that make size tells with those that the stand-in for the proxy makes (3 minutes)
	@PYTHONPATH=.:lambda/layer $(TOOLS)/python tests/benchmarks/waits.py

bench: .venv/tools/requirements.txt .venv/runtime/requirements.txt $(OUTPUT)/layer-x86_64.zip $(OUTPUT)/function.zip examples ## Measure cold starts, warm invocations and tokens beside their peers
	@PYTHONPATH=.:lambda/layer $(TOOLS)/python tests/benchmarks/run.py

proxy-speed: .venv/tools/requirements.txt ## Measure the stand-in for RDS Proxy beside PgBouncer, and the memory of 2,000 and 5,000 clients
	@PYTHONPATH=. $(TOOLS)/python tests/benchmarks/proxy_speed.py

ledger: .venv/tools/requirements.txt ## Write under random faults for a minute and count what was lost or doubled (CLUSTER=1: with a standby and failovers)
	@PYTHONPATH=.:lambda/layer:tests/lambda/layer $(TOOLS)/python tests/benchmarks/ledger.py $(if $(CLUSTER),--cluster)

fuzz: .venv/tools/requirements.txt ## Send a million random messages through the stand-in for RDS Proxy, and compare with PostgreSQL (SEED=S)
	@PYTHONPATH=. $(TOOLS)/python tests/benchmarks/fuzz.py $(if $(SEED),--seed "$$SEED")

drivers: .venv/tools/requirements.txt .venv/drivers/requirements.txt .venv/node/package-lock.json ## Try real clients through the stand-in for RDS Proxy (DRIVER=psycopg: its own suite; SOURCES=folder)
	@PYTHONPATH=. $(TOOLS)/python -m tests.drivers.$(if $(filter pins,$(DRIVER)),pins,run $(if $(SOURCES),--sources "$$SOURCES") "$$DRIVER")

# Prisma makes its client without the engine that only migrates.
.venv/node/package-lock.json: $(wildcard tests/drivers/node/*)
	@rm -rf $(@D) && mkdir -p $(@D) && cp $^ $(@D)
	@cd $(@D) && npm ci --ignore-scripts --no-audit --no-fund --silent \
	  && PRISMA_SCHEMA_ENGINE_BINARY="$$(type -P true)" npx prisma generate >/dev/null
	@touch $@

neighbours: .venv/tools/requirements.txt ## Let one of two services behind one proxy run wild, and time the other
	@PYTHONPATH=.:lambda/layer $(TOOLS)/python tests/benchmarks/neighbours.py

plan-time: .venv/tools/requirements.txt terraform-version ## Time the plan of prod beside one of the same resources in one flat file
	@PYTHONPATH=. $(TOOLS)/python tests/benchmarks/plan_time.py

changes: .venv/tools/requirements.txt .venv/runtime/requirements.txt package $(OF_CLUSTERS) terraform-version ## Change a deployed dev in every way under constant invocations, and print what failed (CLUSTER=1: examples/aurora)
	@PYTHONPATH=.:lambda/layer $(TOOLS)/python tests/benchmarks/changes.py $(if $(CLUSTER),--cluster)

mutations: .venv/tools/requirements.txt terraform-version ## Change one thing at a time in modules/ and see whether a plan test notices (SAMPLE=N SEED=S: only N of them)
	@PYTHONPATH=. $(TOOLS)/python tests/mutations/run.py $(if $(SAMPLE),--sample "$$SAMPLE") $(if $(SEED),--seed "$$SEED")

##@ Upkeep

clean: ## Remove what make built, tools included
	@[ ! -e .local/environment.mk ] || $(MAKE) demo-down
	@rm -rf .venv .local $(OUTPUT) .pytest_cache .mypy_cache .ruff_cache .hypothesis

##@ Packages

# The bootstrap function runs on 3.13: its layer is always made. A layer of another version is made from wheels.
override LAYERS := $(OUTPUT)/layer-$(ARCH).zip $(filter-out %-python3.13-$(ARCH).zip,$(OUTPUT)/layer-python$(PYTHON_VERSION)-$(ARCH).zip)

package: $(LAYERS) $(OUTPUT)/function.zip $(OUTPUT)/bootstrap.zip $(if $(filter $(CLUSTERS),$(ENV)),$(OF_CLUSTERS)) ## Build the zips of the layer (ARCH=, PYTHON_VERSION=) and the functions (FUNCTION=path HANDLER=app.main; MIGRATIONS=path: another application's bootstrap)
	@$(if $(FUNCTION)$(HANDLER)$(DECLARED)$(filter 3.14,$(PYTHON_VERSION)),$(TOOLS)/python -m tools.own_function --arch $(ARCH) --python $(PYTHON_VERSION) \
	  $(if $(filter destroy reboot,$(MAKECMDGOALS)),--unless-made) $(if $(ENV),$(ROOT)))
	@$(if $(MIGRATIONS),$(TOOLS)/python -m build.package bootstrap --migrations "$(MIGRATIONS)" --for $(ARCH))

PACKAGER := $(wildcard build/*.py) .venv/tools/requirements.txt .venv/runtime/requirements.txt
sources   = $(shell find $(1) -type f -not -name '*.pyc')

$(OUTPUT)/layer-%.zip: $(PACKAGER) $(call sources,lambda/layer build/certificates build/licenses) build/Dockerfile build/Dockerfile.dockerignore build/requirements/layer.txt
	@$(TOOLS)/python -m build.package layer --arch $(lastword $(subst -, ,$*)) $(patsubst python%,--python %,$(filter python%,$(subst -, ,$*)))

# For the local stack where it cannot run the layer of Lambda: another Python, another system.
$(OUTPUT)/layer-local.zip: $(PACKAGER) $(call sources,lambda/layer build/certificates build/licenses) build/requirements/layer.txt
	@$(TOOLS)/python -m build.package layer-local

$(OUTPUT)/function.zip: $(PACKAGER) $(call sources,lambda/function)
	@$(TOOLS)/python -m build.package function

$(OUTPUT)/bootstrap.zip: $(PACKAGER) $(call sources,lambda/bootstrap)
	@$(TOOLS)/python -m build.package bootstrap

$(OUTPUT)/function-examples-aurora.zip: $(PACKAGER) $(wildcard examples/aurora/*.py) | $(LAYERS)
	@FUNCTION=examples/aurora HANDLER=app.main $(TOOLS)/python -m tools.own_function --arch $(ARCH) --python $(PYTHON_VERSION)

$(OUTPUT)/bootstrap-aurora.zip: $(PACKAGER) $(call sources,lambda/bootstrap examples/aurora/migrations) | $(LAYERS)
	@$(TOOLS)/python -m build.package bootstrap --migrations examples/aurora/migrations

# For a function that uses SQLAlchemy, psycopg 3 or Django: a second layer, for both architectures.
frameworks: $(OUTPUT)/frameworks.zip ## Build the layer of the optional modules for SQLAlchemy, psycopg 3 and Django

override EXAMPLES := $(patsubst examples/frameworks/%/handler.py,$(OUTPUT)/function-examples-frameworks-%.zip,$(wildcard examples/frameworks/*/handler.py))

examples: $(OUTPUT)/frameworks.zip $(EXAMPLES) ## Build what examples/frameworks deploys: the second layer and a function for each framework

$(EXAMPLES): $(OUTPUT)/function-examples-frameworks-%.zip: examples/frameworks/%/handler.py examples/frameworks/%/requirements.txt $(PACKAGER) | $(OUTPUT)/layer-x86_64.zip $(OUTPUT)/frameworks.zip
	@FUNCTION=$(<D) HANDLER= $(TOOLS)/python -m tools.own_function --arch x86_64 --python 3.13

$(OUTPUT)/frameworks.zip: $(PACKAGER) $(call sources,lambda/frameworks)
	@$(TOOLS)/python -m build.package frameworks

lock: $(UV) ## Write the pinned requirements again from the .in files
	@cd build/requirements && for name in uv tools runtime checkov drivers layer terraform; do \
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
	@$(UV) pip sync --quiet $(if $(filter tools runtime checkov,$*),--compile-bytecode) --require-hashes --python .venv/$* $<
	@cp $< $@

.PHONY: help setup demo demo-down frameworks examples proxy plan deploy destroy invoke migrate reboot doctor status logs psql environment terraform-version test test-examples lint scan scan-plans size storm waits bench fuzz drivers ledger clean package lock docs plan-time proxy-speed changes mutations neighbours
