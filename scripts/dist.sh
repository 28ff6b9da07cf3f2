#!/bin/sh
# Builds the release binary and packs it: static where the musl target and its C compiler are
# installed, else against glibc, which a distroless image has.
set -eu
cd "$(dirname "$0")/.."
target_dir=${CARGO_TARGET_DIR:-target}
machine=$(uname -m)
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
musl=$machine-unknown-linux-musl

has_musl() {
    command -v musl-gcc >/dev/null 2>&1 && [ -d "$(rustc --print sysroot)/lib/rustlib/$musl/lib" ]
}

if has_musl; then
    cargo build --release --locked --bin sync-agent --target "$musl"
    binary=$target_dir/$musl/release/sync-agent
    kind=linux-$machine-static
else
    echo "the target $musl or musl-gcc is not installed: the binary will need glibc" >&2
    cargo build --release --locked --bin sync-agent
    binary=$target_dir/release/sync-agent
    kind=$(uname -s | tr '[:upper:]' '[:lower:]')-$machine
fi

name=sync-agent-$version-$kind
rm -rf "dist/$name"
mkdir -p "dist/$name"
cp "$binary" "dist/$name/"
for file in README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE config/sync-agent.example.toml; do
    [ -e "$file" ] && cp "$file" "dist/$name/"
done
mkdir -p "dist/$name/config"
cp -R config/examples "dist/$name/config/"
"dist/$name/sync-agent" --version
tar -C dist -czf "dist/$name.tar.gz" "$name"
(cd dist && sha256sum "$name.tar.gz" >"$name.tar.gz.sha256" 2>/dev/null || shasum -a 256 "$name.tar.gz" >"$name.tar.gz.sha256")
if command -v ldd >/dev/null 2>&1; then
    echo "needs: $(ldd "dist/$name/sync-agent" 2>&1 | awk '{ print $1 }' | tr '\n' ' ')"
fi
echo "dist/$name.tar.gz"
