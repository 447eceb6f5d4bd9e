# The two commands on a fresh machine are `make run` and `make test`; `make help` lists the others.
SHELL := /bin/bash
.DEFAULT_GOAL := help

RUN_PACKAGES := libcurl4-openssl-dev libicu-dev libjemalloc-dev libpq-dev libssl-dev postgresql postgresql-contrib zlib1g-dev
MAIL_PACKAGES := dovecot-imapd dovecot-pop3d dovecot-lmtpd postfix openssl python3
TEST_PACKAGES := $(RUN_PACKAGES) $(MAIL_PACKAGES) age awscli clevis isync python3-venv jq curl openssl nghttp2-client postgresql-client gcc rsyslog rsyslog-openssl prometheus sasl2-bin socat softhsm2 tang opensc libsasl2-modules chromium chromium-driver pgbouncer haproxy patroni etcd-server python3-etcd iproute2 procps $(PACKAGING_PACKAGES) lintian man-db systemd zsh fish
PACKAGING_PACKAGES := binutils dpkg-dev
LINT_PACKAGES := shellcheck python3-venv
SHELL_SCRIPTS := .ci/run Benchmarks/run Tests/run Tests/Support/postgres.sh Tests/Support/python dist/container/health dist/container/prepare dist/container/setup dist/debian/fieldseal-router.postinst dist/debian/fieldseal-router.postrm dist/debian/fieldseal-router.prerm dist/debian/fieldseal.postinst dist/debian/fieldseal.postrm dist/debian/fieldseal.prerm examples/mailbox.sh scripts/fips-module scripts/install-packages

.PHONY: help run mail cluster build packages test test-all test-one test-full torture failover-torture router-torture fuzz bench fips screenshots lint format docs clean

help: ## List the commands
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

run: ## Build in release mode, then run everything on this machine until Ctrl-C
	@scripts/install-packages $(RUN_PACKAGES)
	@swift build -c release --product fieldseal
	@exec .build/release/fieldseal dev

mail: ## Start Dovecot and Postfix as test servers until Ctrl-C, as root
	@scripts/install-packages $(MAIL_PACKAGES)
	@exec scripts/mail

cluster: ## Start PostgreSQL under Patroni with two databases, two servers behind HAProxy and a router until Ctrl-C, and say how to kill each, as root
	@scripts/install-packages $(TEST_PACKAGES)
	@swift build -c release --product fieldseal
	@Tests/Support/python
	@FIELDSEAL=$(CURDIR)/.build/release/fieldseal exec .venv/bin/python Tests/highly_available.py

build: ## Build in release mode
	@scripts/install-packages $(RUN_PACKAGES)
	swift build -c release --product fieldseal --explicit-target-dependency-import-check error

packages: ## Build Debian packages with Swift's libraries in the program, in .build/packages
	@scripts/install-packages $(RUN_PACKAGES) $(PACKAGING_PACKAGES)
	swift build -c release --product fieldseal --static-swift-stdlib -Xswiftc -no-toolchain-stdlib-rpath --scratch-path .build/static
	@scripts/packages --binary .build/static/release/fieldseal

test: ## Run the tests in minutes: of the longer files a part, another one each day (SEED=n)
	@scripts/install-packages $(TEST_PACKAGES)
	@$(if $(SEED),FIELDSEAL_SEED=$(SEED)) Tests/run

test-all: ## Run every test, against a PostgreSQL and other servers that the tests start and stop (SEED=n)
	@scripts/install-packages $(TEST_PACKAGES)
	@$(if $(SEED),FIELDSEAL_SEED=$(SEED)) Tests/run --all

test-one: ## Run one file, test or Swift suite: make test-one NAME=test_records
	@scripts/install-packages $(TEST_PACKAGES)
	@Tests/run --one '$(NAME)'

test-full: ## Run every test, with long random walks, and strikes at every statement (SEED=n)
	@scripts/install-packages $(TEST_PACKAGES)
	@$(if $(SEED),FIELDSEAL_SEED=$(SEED)) Tests/run --full

torture: ## Change the key 2,000 times under load, interrupted at random (CASES=n SEED=n)
	@scripts/install-packages $(TEST_PACKAGES)
	@swift build -c release --product fieldseal --quiet
	@Tests/Support/python
	@FIELDSEAL=.build/release/fieldseal .venv/bin/python Tests/torture.py $(if $(CASES),--cases $(CASES)) $(if $(SEED),--seed $(SEED))

failover-torture: ## Kill, pause, cut off and switch over the primary 50 times at random under load, as root (ROUNDS=n SEED=n MINUTES=n)
	@scripts/install-packages $(TEST_PACKAGES)
	@swift build -c release --product fieldseal --quiet
	@Tests/Support/python
	@FIELDSEAL=.build/release/fieldseal .venv/bin/python Tests/failover_torture.py $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SEED),--seed $(SEED)) \
	    $(if $(MINUTES),--minutes $(MINUTES))

router-torture: ## Kill routers and the service 500 times while mail flows, then stop the service for five minutes, as root (KILLS=n SEED=n)
	@scripts/install-packages $(TEST_PACKAGES)
	@swift build -c release --product fieldseal --quiet
	@Tests/Support/python
	@FIELDSEAL=.build/release/fieldseal FIELDSEAL_ROUTER_KILLS=$(or $(KILLS),500) FIELDSEAL_ROUTER_SEED=$(or $(SEED),500) FIELDSEAL_ROUTER_AWAY=300 \
	    .venv/bin/python -m pytest Tests/Service/router/test_router.py -q -p no:cacheprovider --timeout 5400 -k 'kills or away'

fuzz: ## Feed mutated input to every parser (CASES=n SEED=n)
	@scripts/install-packages $(TEST_PACKAGES)
	@FIELDSEAL_FUZZ_CASES=$(or $(CASES),5000000) FIELDSEAL_FUZZ_SEED=$(or $(SEED),$(shell date +%s)) swift test --filter "ParserFuzzTests|MailFuzzTests"

bench: ## Measure the figures of docs/performance.md, and write .fieldseal/bench.json
	@scripts/install-packages $(TEST_PACKAGES)
	@Benchmarks/run

fips: ## Build OpenSSL's FIPS provider in .build/fips, and run the service and the router under it, as root
	@scripts/install-packages $(TEST_PACKAGES) make perl
	@swift build --product fieldseal --quiet
	@Tests/Support/python
	@scripts/fips-module
	@FIELDSEAL=$(CURDIR)/.build/debug/fieldseal .venv/bin/python Tests/fips.py .build/fips/openssl.cnf

screenshots: ## Take pictures of every page of the console into .fieldseal/screenshots, and those of the documentation
	@scripts/install-packages $(TEST_PACKAGES)
	@swift build -c release --product fieldseal --quiet
	@Tests/Support/python
	@FIELDSEAL=.build/release/fieldseal .venv/bin/python Tests/screenshots.py --readme

lint: ## Check format, Python, shell, imports, links, and that documentation and code agree
	@scripts/install-packages $(LINT_PACKAGES)
	@Tests/Support/python
	swift format lint --strict --recursive --parallel Package.swift Sources Tests Benchmarks examples
	.venv/bin/ruff check --quiet Tests Benchmarks examples scripts/mail scripts/packages scripts/*.py scripts/tidy
	shellcheck --severity=warning --external-sources --shell=bash $(SHELL_SCRIPTS)
	@scripts/tidy

format: ## Format the Swift files
	swift format --in-place --recursive --parallel Package.swift Sources Tests Benchmarks examples

docs: ## Check the links of the documentation
	@scripts/tidy --links

clean: ## Remove all build products and the development deployment
	rm -rf .build .build-* .fieldseal .venv
