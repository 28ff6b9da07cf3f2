#!/bin/sh
# Makes sure that PostgreSQL's server programs, psql and pgbench are there; prints their folder.
#
# Installs packages only when nothing is found, asks first on a terminal, and lets apt neither
# create nor start a server.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/postgres.sh"

if bin=$(postgres_bin); then
    if [ -x "$bin/psql" ] && [ -x "$bin/pgbench" ]; then
        printf '%s\n' "$bin"
        exit 0
    fi
    echo "$bin holds a server but not psql and pgbench" >&2
fi

if command -v apt-get >/dev/null 2>&1; then
    agreed "No PostgreSQL server programs found. Install the packages with apt (no server is created or started)?" || {
        echo "not installed; PG_BIN may name the folder of another installation" >&2
        exit 1
    }
    apt_update
    apt_install postgresql-common
    settings=/etc/postgresql-common/createcluster.conf
    saved=$(mktemp)
    cat "$settings" >"$saved"
    # The machine's own setting comes back, whatever happens.
    trap 'as_root cp "$saved" "$settings"; rm -f "$saved"' EXIT
    { cat "$saved"; echo "create_main_cluster = false"; } | as_root tee "$settings" >/dev/null
    apt_install postgresql postgresql-contrib
elif command -v brew >/dev/null 2>&1; then
    agreed "No PostgreSQL server programs found. Install postgresql@17 with Homebrew (no server is started)?" || exit 1
    brew install postgresql@17 >&2
else
    cat >&2 <<'TXT'
PostgreSQL's server programs are missing, and this machine has neither apt nor Homebrew.
Install the server, its contrib modules and its client programs (14 or newer) and try again:
  Fedora, RHEL   dnf install postgresql-server postgresql-contrib
  Arch           pacman -S postgresql
  Alpine         apk add postgresql postgresql-contrib postgresql-client
or set PG_BIN to the folder that holds postgres, initdb, psql and pgbench.
TXT
    exit 1
fi

bin=$(postgres_bin) || {
    echo "the packages are installed, but no server programs were found; set PG_BIN" >&2
    exit 1
}
printf '%s\n' "$bin"
