#!/usr/bin/env bash
# Two throwaway servers, a small shop that keeps working, and the agent between them.
#
#   make demo                      until Ctrl-C
#   DEMO_SECONDS=30 make demo      by itself, for CI and the impatient
#
# At the end the writers stop, the agent catches up, both databases are compared by query, and
# nothing is left running. Exit 0: in step. Exit 1: what differs is printed.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/postgres.sh

binary=${BINARY:-target/release/sync-agent}
binary=$(cd "$(dirname "$binary")" && pwd)/$(basename "$binary")
bin=$(postgres_bin)
seconds=${DEMO_SECONDS:-0}
interval=${DEMO_INTERVAL:-3}
tables="customers products orders order_lines audit_log"

folder=$(mktemp -d /tmp/sync-agent-demo.XXXXXX)
agent=
watchdog=
writers=
stopping=

# === leaving nothing behind ===

stop_servers() {
    local side
    for side in source destination; do
        if [ -f "$folder/$side/postmaster.pid" ]; then
            as_server_user "$bin/pg_ctl" -D "$folder/$side" -m immediate -w stop >/dev/null 2>&1 || true
        fi
    done
}

cleanup() {
    local status=$?
    trap '' INT TERM HUP
    trap - EXIT
    [ -z "$writers" ] || kill "$writers" 2>/dev/null || true
    if [ -n "$agent" ] && kill -0 "$agent" 2>/dev/null; then
        kill -9 "$agent" 2>/dev/null || true
    fi
    stop_servers
    [ -z "$watchdog" ] || kill -- "-$watchdog" 2>/dev/null || true
    if [ "$status" != 0 ] && [ -s "$folder/agent.log" ]; then
        echo "The agent's last words:" >&2
        tail -n 20 "$folder/agent.log" >&2
    fi
    rm -rf "$folder"
    exit "$status"
}
trap cleanup EXIT
trap 'stopping=1' INT TERM HUP

# === the servers ===

start_server() { # side
    local side=$1 port try
    as_server_user "$bin/initdb" -D "$folder/$side" -U postgres -E UTF8 --locale=C --auth=trust \
        --no-sync >/dev/null
    for try in 1 2 3 4 5; do
        port=$(free_port)
        cat >"$folder/$side.conf" <<CONF
listen_addresses = '127.0.0.1'
port = $port
unix_socket_directories = '$folder/sockets'
wal_level = logical
max_connections = 60
shared_buffers = 64MB
fsync = off
logging_collector = off
CONF
        as_server_user sh -c "cat '$folder/$side.conf' >'$folder/$side/postgresql.auto.conf'"
        if as_server_user "$bin/pg_ctl" -D "$folder/$side" -l "$folder/$side/server.log" -w start \
            >/dev/null 2>&1; then
            printf '%s\n' "$port"
            return 0
        fi
    done
    echo "the $side does not start:" >&2
    tail -n 20 "$folder/$side/server.log" >&2
    return 1
}

sql() { # side, then psql's arguments
    local port=$source_port
    [ "$1" = source ] || port=$destination_port
    shift
    "$bin/psql" -X -q -A -t -v ON_ERROR_STOP=1 -h "$folder/sockets" -p "$port" -U postgres -d shop "$@"
}

# === the agent ===

http() { # path
    exec 3<>"/dev/tcp/127.0.0.1/$http_port" || return 1
    printf 'GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n' "$1" >&3
    cat <&3
    exec 3<&- 3>&-
}

# One line of what the metrics say: state, lag, rows since the start.
look() {
    http /metrics 2>/dev/null | awk '
        /^sync_agent_state\{/ && $NF == 1 { match($0, /state="[a-z_]+"/); state = substr($0, RSTART + 7, RLENGTH - 8) }
        /^sync_agent_replication_lag_bytes\{/ && /stage="applied"/ { lag = $NF }
        /^sync_agent_replication_lag_seconds/ { seconds = $NF }
        /^sync_agent_rows_total\{/ { rows += $NF }
        /^sync_agent_snapshot_rows_total\{/ { copied += $NF }
        END { printf "%s %d %.3f %d %d\n", (state == "" ? "starting" : state), lag, seconds, rows, copied }'
}

# === one after the other ===

if [ "$(id -u)" = 0 ]; then
    chown "$(server_user)" "$folder"
fi
chmod 755 "$folder"
as_server_user mkdir "$folder/sockets"

echo "Starting two throwaway servers ($("$bin/postgres" --version)) in $folder"
source_port=$(start_server source)
destination_port=$(start_server destination)

# Whatever ends this script, the servers end with it.
set -m
(
    trap '' INT HUP
    exec 3<&-
    while kill -0 $$ 2>/dev/null; do sleep 2; done
    trap - EXIT
    [ -z "$(cat "$folder/agent.pid" 2>/dev/null)" ] || kill -9 "$(cat "$folder/agent.pid")" 2>/dev/null
    stop_servers
    rm -rf "$folder"
) >/dev/null 2>&1 &
watchdog=$!
set +m

for side in source destination; do
    port=$source_port
    [ "$side" = source ] || port=$destination_port
    "$bin/psql" -X -q -h "$folder/sockets" -p "$port" -U postgres -d postgres -c 'CREATE DATABASE shop'
done
echo "Loading the shop"
sql source -f scripts/demo/shop.sql

http_port=9847
if (exec 3<>"/dev/tcp/127.0.0.1/$http_port") 2>/dev/null; then
    http_port=$(free_port)
fi
source_url="postgresql://postgres@127.0.0.1:$source_port/shop"
destination_url="postgresql://postgres@127.0.0.1:$destination_port/shop"
cat >"$folder/sync-agent.toml" <<CONF
pipeline = "shop"

[source]
url = "$source_url"

[destination]
url = "$destination_url"

[state]
dir = "$folder/state"

[http]
listen = "127.0.0.1:$http_port"
CONF

# Process groups of their own: Ctrl-C is for this script, which then stops them in order.
set -m
"$bin/pgbench" -n -c 4 -T 2000000 -R "${DEMO_RATE:-300}" -h "$folder/sockets" -p "$source_port" -U postgres \
    -f scripts/demo/order.sql@5 -f scripts/demo/ship.sql@4 -f scripts/demo/cancel.sql@1 \
    -f scripts/demo/catalog.sql@2 shop >"$folder/writers.log" 2>&1 &
writers=$!
"$binary" --config "$folder/sync-agent.toml" --log-format json run >/dev/null 2>"$folder/agent.log" &
agent=$!
set +m
echo "$agent" >"$folder/agent.pid"

cat <<TXT

  status page   http://127.0.0.1:$http_port/
  source        psql $source_url
  destination   psql $destination_url
  agent's log   tail -f $folder/agent.log

$([ "$seconds" = 0 ] && echo "Ctrl-C ends it and compares both databases." || echo "It ends after $seconds s and compares both databases.")

TXT

started=$SECONDS
last_rows=0
last_at=$SECONDS
printf '%-8s %-12s %14s %10s %10s %12s\n' time state 'lag in bytes' 'lag in s' 'rows a s' 'rows copied'
while [ -z "$stopping" ]; do
    if [ "$seconds" != 0 ] && [ $((SECONDS - started)) -ge "$seconds" ]; then
        break
    fi
    # In the background, so that a signal is noticed at once.
    sleep "$interval" &
    wait $! 2>/dev/null || true
    if ! kill -0 "$agent" 2>/dev/null; then
        echo "the agent ended by itself" >&2
        exit 1
    fi
    if ! kill -0 "$writers" 2>/dev/null; then
        echo "the workload ended by itself:" >&2
        tail -n 5 "$folder/writers.log" >&2
        exit 1
    fi
    read -r state lag lag_seconds rows copied < <(look || true) || continue
    elapsed=$((SECONDS - last_at))
    [ "$elapsed" -gt 0 ] || elapsed=1
    printf '%-8s %-12s %14s %10s %10s %12s\n' "$(date +%H:%M:%S)" "$state" "$lag" "$lag_seconds" \
        $(((rows - last_rows) / elapsed)) "$copied"
    last_rows=$rows
    last_at=$SECONDS
done

# From here on a second Ctrl-C ends it at once.
trap 'exit 130' INT TERM HUP

echo
echo "Stopping the writers"
kill "$writers" 2>/dev/null || true
wait "$writers" 2>/dev/null || true
writers=
while [ "$(sql source -c "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgbench'")" != 0 ]; do
    sleep 0.1
done

echo "Waiting until the destination has everything"
"$binary" --config "$folder/sync-agent.toml" wait --for caught-up --timeout 60s >/dev/null
kill "$agent"
wait "$agent" && code=0 || code=$?
agent=
if [ "$code" != 0 ]; then
    echo "the agent ended with $code" >&2
    exit 1
fi

differing=0
printf '\n%-14s %12s %12s\n' table source destination
for table in $tables; do
    query="SET timezone = 'UTC'; SELECT count(*), coalesce(sum(('x' || left(md5(t::text), 15))::bit(60)::bigint::numeric), 0) FROM $table t"
    here=$(sql source -c "$query")
    there=$(sql destination -c "$query")
    verdict=
    if [ "$here" != "$there" ]; then
        verdict="DIFFERS"
        differing=1
    fi
    printf '%-14s %12s %12s %s\n' "$table" "${here%%|*}" "${there%%|*}" "$verdict"
    if [ -n "$verdict" ]; then
        for side in source destination; do
            sql "$side" -c "SET timezone = 'UTC'; SELECT t::text FROM $table t ORDER BY 1" >"$folder/$side.rows"
        done
        { diff "$folder/source.rows" "$folder/destination.rows" || true; } | sed -n 's/^</  only at the source:     /p; s/^>/  only at the destination:/p' | awk 'NR <= 10'
    fi
done
echo
if [ "$differing" != 0 ]; then
    echo "NOT in step"
    exit 1
fi
echo "in step"
