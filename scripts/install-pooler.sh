#!/bin/sh
# Makes sure that pgbouncer is there, for the tests of poolers. It is not started as a service.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/postgres.sh"

for path in /usr/sbin/pgbouncer /usr/bin/pgbouncer /opt/homebrew/bin/pgbouncer; do
    [ -x "$path" ] && exit 0
done
if command -v apt-get >/dev/null 2>&1; then
    agreed "No pgbouncer found, which some tests need. Install the package with apt (no pooler is started)?" || exit 1
    apt_update
    # The package starts its service; a policy that refuses keeps it from doing so.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap 'as_root rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
    fi
    apt_install pgbouncer
    if command -v systemctl >/dev/null 2>&1; then
        as_root systemctl disable pgbouncer >/dev/null 2>&1 || true
    fi
elif command -v brew >/dev/null 2>&1; then
    agreed "No pgbouncer found, which some tests need. Install it with Homebrew (no pooler is started)?" || exit 1
    brew install pgbouncer >&2
else
    echo "pgbouncer is missing, and this machine has neither apt nor Homebrew: install it for the tests of poolers" >&2
    exit 1
fi
