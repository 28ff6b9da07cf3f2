# Sourced by bench.sh: servers, SQL, time, what a process used, results.

say() { printf '%s\n' "$*" >&2; }

# Whether a comma-separated list holds a word.
has() { case ",$1," in *",$2,"*) return 0 ;; *) return 1 ;; esac; }

# === servers ===

start_servers() {
    local side
    if [ "$(id -u)" = 0 ]; then
        chown "$(server_user)" "$folder"
    fi
    chmod 755 "$folder"
    for side in source destination; do
        start_server "$side"
    done
    say "servers: $("$bin/postgres" --version), source on port $source_port, destination on port $destination_port"
}

start_server() { # side
    local side=$1 port log=$folder/$1.log
    as_server_user "$bin/initdb" -D "$folder/$side" -U postgres -E UTF8 --locale=C --auth=trust \
        >/dev/null
    port=$(free_port)
    as_server_user sh -c "cat >>'$folder/$side/postgresql.conf'" <<CONF
listen_addresses = '127.0.0.1'
port = $port
unix_socket_directories = ''
$(cat scripts/bench/server.conf)
CONF
    as_server_user "$bin/pg_ctl" -D "$folder/$side" -l "$log" -w -t 60 start >/dev/null || {
        tail -n 20 "$log" >&2
        return 1
    }
    eval "${side}_port=$port"
}

cleanup() {
    local status=$? side
    trap - EXIT
    [ -z "${background:-}" ] || kill $background 2>/dev/null || true
    for side in source destination; do
        if [ -f "$folder/$side/postmaster.pid" ]; then
            as_server_user "$bin/pg_ctl" -D "$folder/$side" -m immediate -w stop >/dev/null 2>&1 || true
        fi
    done
    rm -rf "$folder"
    exit "$status"
}

# === SQL ===

port_of() { if [ "$1" = source ]; then echo "$source_port"; else echo "$destination_port"; fi; }

url() { # side database
    echo "postgresql://postgres@127.0.0.1:$(port_of "$1")/$2?sslmode=disable"
}

sql() { # side database, then psql's arguments
    local side=$1 database=$2
    shift 2
    "$bin/psql" -X -q -A -t -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$(port_of "$side")" -U postgres \
        -d "$database" "$@"
}

pgbench() { # pgbench's arguments, the database last
    PGOPTIONS="-c synchronous_commit=${synchronous_commit:-off}" "$bin/pgbench" -h 127.0.0.1 -p "$source_port" -U postgres "$@"
}

new_database() { # side name
    sql "$1" postgres -c "DROP DATABASE IF EXISTS $2 WITH (FORCE)" -c "CREATE DATABASE $2" 2>/dev/null
}

# Both servers begin a timed stretch with nothing left to write back.
settle() {
    sql source postgres -c CHECKPOINT
    sql destination postgres -c CHECKPOINT
}

# Slots and publications that the agent left in a source database.
forget_agent() { # database
    sql source "$1" >/dev/null <<'SQL'
SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
 WHERE slot_name LIKE 'sync_agent%' AND database = current_database();
SELECT format('DROP PUBLICATION %I', pubname) FROM pg_publication
 WHERE pubname LIKE 'sync_agent%' \gexec
SQL
}

# === the agent ===

# Starts the agent between two databases; its slot is sync_agent_<destination's database>.
start_agent() { # source's database, destination's database, then verb and flags
    local from=$1 to=$2
    shift 2
    "$agent" --source "$(url source "$from")" --destination "$(url destination "$to")" \
        --set "pipeline=\"$to\"" --set "state.dir=\"$folder/state\"" --set 'http.listen="off"' \
        --log-format json "$@" &
    background=$!
}

# Runs the agent to its end.
run_agent() { # as start_agent
    local code=0
    start_agent "$@"
    follow "$background" "$folder/used" &
    wait "$background" || code=$?
    background=
    return "$code"
}

# Waits for a command, or gives it up when the agent has ended before it.
while_agent_lives() {
    local waiter watcher code=0
    "$@" &
    waiter=$!
    (
        while kill -0 "$background" 2>/dev/null; do sleep 1; done
        kill "$waiter" 2>/dev/null
    ) &
    watcher=$!
    wait "$waiter" || code=$?
    kill "$watcher" 2>/dev/null || true
    wait "$watcher" 2>/dev/null || true
    return "$code"
}

# Stops it as an operator would; what it used is in "$folder/used".
stop_agent() {
    local code=0
    [ -n "${background:-}" ] || return 0
    used "$background" >"$folder/used" || true
    kill "$background" 2>/dev/null || true
    wait "$background" || code=$?
    background=
    return "$code"
}

# === time ===

now_ms() { echo $(($(date +%s%N) / 1000000)); }

seconds_since() { # milliseconds
    awk -v from="$1" -v to="$(now_ms)" 'BEGIN { printf "%.2f\n", (to - from) / 1000 }'
}

# === what a process uses ===

# Follows a process until it ends: `cpu seconds` and `peak KiB` are in the file then.
follow() { # pid file
    local pid=$1 file=$2 stat word
    while [ -r "/proc/$pid/stat" ]; do
        used "$pid" >"$file.new" 2>/dev/null && mv "$file.new" "$file"
        sleep 0.1
    done
}

used() { # pid
    local stat peak
    stat=$(<"/proc/$1/stat") || return 1
    # The command's name may hold blanks; the fields after it do not.
    # shellcheck disable=SC2086
    set -- "$1" ${stat##*) }
    peak=$(sed -n 's/^VmHWM:[[:space:]]*\([0-9]*\) kB/\1/p' "/proc/$1/status")
    [ -n "$peak" ] || return 1
    awk -v ticks="$((${13} + ${14}))" -v hertz="$(getconf CLK_TCK)" -v peak="$peak" \
        'BEGIN { printf "%.2f %d\n", ticks / hertz, peak }'
}

# === results ===

# section, workload, way, run, seconds, agent's CPU seconds, agent's peak KiB, equal | DIFFERS | failed
record() {
    printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$@" >>"$results"
    say "$(printf '%-8s %-8s %-10s run %s  %8s s  %s' "$1" "$2" "$3" "$4" "$5" "$8")"
}

# The words of a list, beginning elsewhere in each run, so that no way always goes first.
rotated() { # run list
    awk -v run="$1" -v list="$2" 'BEGIN {
        n = split(list, word, ",")
        for (i = 0; i < n; i++) print word[(i + run - 1) % n + 1]
    }'
}

# Whether tables hold the same rows on both sides.
compare() { # source's database, destination's database, tables
    local from=$1 to=$2 table query here there
    shift 2
    for table in "$@"; do
        query="SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)::numeric), 0) FROM $table t"
        here=$(sql source "$from" -c "$query")
        there=$(sql destination "$to" -c "$query") || there=missing
        if [ "$here" != "$there" ]; then
            say "$table: $here at the source, $there at the destination"
            echo DIFFERS
            return
        fi
    done
    echo equal
}
