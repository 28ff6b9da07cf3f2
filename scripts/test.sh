#!/bin/sh
# Runs the tests: with cargo-nextest where it is installed, else with cargo's own runner.
#   scripts/test.sh            all of them
#   scripts/test.sh FILTER     those whose name contains it
#   scripts/test.sh FILTER all those too that are left out otherwise, because they take long
set -eu
cd "$(dirname "$0")/.."
filter=${1:-}
ignored_nextest=
ignored_cargo=
if [ "${2:-}" = all ]; then
    ignored_nextest="--run-ignored all"
    ignored_cargo=--include-ignored
fi
profile=default
[ "${CI:-}" = true ] && profile=ci

# nextest does not run examples in docs; they come first so that its summary stands last.
[ -n "$filter" ] || cargo test --locked --doc --quiet
if cargo nextest --version >/dev/null 2>&1; then
    # shellcheck disable=SC2086 # Two words or none.
    cargo nextest run --locked --profile "$profile" $ignored_nextest ${filter:+"$filter"}
else
    echo "cargo-nextest is not installed; cargo's own runner does it too" >&2
    cargo test --locked --lib --bins --test tidy --test fuzz -- ${filter:+"$filter"}
    # Two at a time: each test starts servers.
    cargo test --locked --test it -- --test-threads 2 $ignored_cargo ${filter:+"$filter"}
fi
