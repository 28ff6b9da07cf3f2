# The only door: CI calls the same targets. Nothing has to be installed for `make` itself.

CARGO ?= cargo
BIN = $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)

.PHONY: help demo test chaos check fmt fuzz test-versions test-long bench dist install

help: ## what there is
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | awk -F '\t' '{ printf "make %-14s %s\n", $$1, $$2 }'

demo: ## two throwaway servers, a shop at work, the agent between them (DEMO_SECONDS=n ends it)
	@scripts/install-build-tools.sh
	@scripts/install-postgres.sh >/dev/null
	$(CARGO) build --release --locked --bin sync-agent
	@BINARY="$(BIN)/release/sync-agent" scripts/demo.sh

test: install ## everything: unit, property, house rules, real servers (three pairs of versions)
	@scripts/test.sh

chaos: install ## faults at random for a while (SEED=n repeats one, MINUTES=m; 3 unless told)
	@SEED="$(SEED)" MINUTES="$(MINUTES)" FAULTS="$(FAULTS)" scripts/chaos.sh

check: ## what needs no server: format, lints, house rules, docs
	@scripts/install-build-tools.sh
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) test --locked --test tidy
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items

fmt: ## format the sources
	$(CARGO) fmt --all

fuzz: ## a fuzz target for a while (TARGET=name, MINUTES=m; each for 1 unless told); needs a nightly compiler
	@TARGET="$(TARGET)" MINUTES="$(MINUTES)" scripts/fuzz.sh

test-versions: install ## PostgreSQL 14 to 18 on either side: all 25 pairs (some five minutes)
	@scripts/test.sh versions:: all

test-long: install ## the long campaigns: faults, crashes, memory (up to an hour)
	@scripts/test.sh long:: all

bench: ## the figures of the README, beside what else is installed (some minutes)
	@scripts/install-build-tools.sh
	@scripts/install-postgres.sh >/dev/null
	@scripts/bench.sh

dist: ## one binary that needs no Rust, packed in dist/
	@scripts/install-build-tools.sh
	@scripts/dist.sh

install: ## what the tests need: a C compiler, PostgreSQL, its other versions, pgbouncer
	@scripts/install-build-tools.sh
	@scripts/install-postgres.sh >/dev/null
	@scripts/install-versions.sh || echo "the tests of the missing versions will fail" >&2
	@scripts/install-pooler.sh || echo "the tests of poolers will fail" >&2
