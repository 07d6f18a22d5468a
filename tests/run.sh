#!/usr/bin/env bash
# Runs the tests: with nextest where it is installed, for it limits how many clusters run at a time and ends what hangs
# (.config/nextest.toml); else with cargo itself. The arguments are the runner's.
set -euo pipefail
cd "$(dirname "$0")/.."

if cargo nextest --version >/dev/null 2>&1; then
    # nextest runs no examples in doc comments.
    cargo test --quiet --doc "$@"
    cargo nextest run "$@"
else
    # Each test binary starts clusters of its own; two at a time are enough for a small machine.
    RUST_TEST_THREADS="${RUST_TEST_THREADS:-2}" cargo test "$@"
fi
