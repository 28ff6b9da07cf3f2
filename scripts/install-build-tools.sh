#!/bin/sh
# Makes sure that cargo and a C compiler are there: the TLS library has a C part.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/postgres.sh"

command -v cargo >/dev/null 2>&1 || {
    echo "cargo is missing: install a Rust toolchain, https://rustup.rs" >&2
    exit 1
}
if command -v cc >/dev/null 2>&1; then
    exit 0
fi
if command -v apt-get >/dev/null 2>&1; then
    agreed "No C compiler found. Install gcc with apt?" || exit 1
    apt_update
    apt_install gcc libc6-dev
else
    echo "a C compiler (cc) is missing: install gcc or clang" >&2
    exit 1
fi
