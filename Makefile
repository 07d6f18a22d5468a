# The commands of the README. They install what is missing first, and are quick when nothing is.

CARGO ?= cargo
# Arguments for "shard-admin demo start", as in: make demo DEMO="--shards 4 --detach"
DEMO ?=
# Arguments for the comparison with other proxies, as in: make bench BENCH="--quick --only a,b"
BENCH ?=
# How long "make soak" goes on.
MINUTES ?= 60
# Arguments for the test runner, as in: make test TESTS="-p shardgate-plan"
TESTS ?= --workspace

BIN = $(or $(CARGO_TARGET_DIR),target)/release

.PHONY: help demo test soak bench instructions

help:
	@echo 'make demo   start a throw-away cluster: shards with replicas, a router, a sample'
	@echo 'make test   run all tests'
	@echo 'make soak MINUTES=60  move data under load for that long while processes are killed, and look at every row'
	@echo 'make bench  compare the router with the direct line, PgBouncer and HAProxy (docs/performance.md)'
	@echo 'make instructions  record how many instructions each statement costs; "make test" compares with it'

demo:
	bash tests/setup.sh postgres
	$(CARGO) build --release --bin shardgate --bin shard-admin
	$(BIN)/shard-admin demo start $(DEMO)

test:
	bash tests/setup.sh all
	$(CARGO) build --workspace --bins
	$(CARGO) build --release -p shardgate-instructions
	bash tests/run.sh $(TESTS)

# The binaries are optimized, for the pauses are measured.
soak:
	bash tests/setup.sh all
	$(CARGO) build --release --bin shardgate --bin shard-admin
	MINUTES=$(MINUTES) $(CARGO) test --release -p shardgate-tests --test soak load_long -- --ignored --nocapture

bench:
	bash tests/setup.sh bench
	$(CARGO) build --release --bin shardgate --bin shardgate-bench
	PATH="$$PATH:/usr/sbin" $(BIN)/shardgate-bench $(BENCH)

instructions:
	bash tests/setup.sh all
	INSTRUCTIONS_RECORD=1 $(CARGO) test -p shardgate-instructions --test baseline -- --nocapture
