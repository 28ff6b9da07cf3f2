#!/bin/sh
# Runs the fuzz targets of fuzz/ under libFuzzer, from their corpus:
#   TARGET=name    this one alone
#   MINUTES=m      each for so long; 1 unless told
# What makes one fail is in fuzz/artifacts/<target>/; put it into fuzz/corpus/<target>/ with the cure.
# New inputs that reach further are kept in target/fuzz/corpus/.
set -eu
cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}/fuzz"
command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz
seconds=$(( ${MINUTES:-1} * 60 ))
for corpus in fuzz/corpus/${TARGET:-*}; do
    target=${corpus##*/}
    found="$CARGO_TARGET_DIR/corpus/$target"
    mkdir -p "$found"
    echo "fuzzing $target for $seconds s" >&2
    cargo +nightly fuzz run "$target" "$found" "$corpus" -- \
        -max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=1024
done
