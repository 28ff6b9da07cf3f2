# Sourced by bench.sh: from a row written at the source to the same row written at the destination,
# both by their own clock_timestamp(), at 2,000 single-row transactions a second. One machine, one
# clock.

latency_rate=2000
latency_seconds=10

bench_latency() {
    local run way
    new_database source latency
    sql source latency -f scripts/bench/latency.sql -c "CREATE PUBLICATION bench FOR ALL TABLES"
    for run in $(seq "$runs"); do
        for way in $(rotated "$run" "$(latency_ways)"); do
            measure_latency "$run" "$way"
        done
    done
    forget_agent latency
    sql source postgres -c "DROP DATABASE latency WITH (FORCE)"
}

latency_ways() {
    local way list=
    for way in builtin agent; do
        if has "$ways" "$way"; then list=${list:+$list,}$way; fi
    done
    printf '%s' "$list"
}

# Two rows of results: p50 and p99, in milliseconds.
measure_latency() { # run way
    local status=failed p50=- p99=- idle=-
    sql source latency -c "TRUNCATE written"
    new_database destination latency
    sql destination latency -f scripts/bench/latency.sql \
        -c "ALTER TABLE written ADD applied_at timestamptz DEFAULT clock_timestamp()"
    : >"$folder/used"
    if "latency_start_$2" >"$out/latency-$2.log" 2>&1 && latency_warm; then
        idle=$(idle_of_agent)
        # What is not flushed is not sent: with asynchronous commits the WAL writer's naps are measured.
        synchronous_commit=on pgbench -n -c 8 -T "$latency_seconds" -R "$latency_rate" -f scripts/bench/latency-insert.sql \
            latency >"$out/latency-workload.log" 2>&1
        if latency_caught_up; then
            read -r p50 p99 < <(sql destination latency -F ' ' -c "SELECT round(1000 * percentile_cont(0.5) WITHIN GROUP (ORDER BY d)::numeric, 2), round(1000 * percentile_cont(0.99) WITHIN GROUP (ORDER BY d)::numeric, 2) FROM (SELECT extract(epoch FROM applied_at - ts) AS d FROM written WHERE id > 1) x")
            status=equal
        fi
    fi
    "latency_stop_$2" >>"$out/latency-$2.log" 2>&1 || true
    # shellcheck disable=SC2046
    set -- "$1" "$2" $(used_by_agent)
    record latency p50_ms "$2" "$1" "$p50" "$3" "$4" "$status"
    record latency p99_ms "$2" "$1" "$p99" "$3" "$4" "$status"
    if [ "$2" = agent ]; then record memory idle "$2" "$1" - - "$idle" "$status"; fi
}

# The first row has arrived: the stream is up.
latency_warm() {
    sql source latency -c "INSERT INTO written DEFAULT VALUES" && latency_caught_up
}

latency_caught_up() {
    local count try
    count=$(sql source latency -c "SELECT count(*) FROM written")
    for try in $(seq 600); do
        if [ "$(sql destination latency -c "SELECT count(*) FROM written")" = "$count" ]; then
            return 0
        fi
        sleep 0.1
    done
    say "the destination has not got all $count rows within a minute"
    return 1
}

idle_of_agent() {
    if [ -n "${background:-}" ]; then
        # shellcheck disable=SC2046
        set -- $(used "$background")
        echo "${2:--}"
    else
        echo -
    fi
}

latency_start_builtin() {
    sql destination latency -c "CREATE SUBSCRIPTION bench CONNECTION '$(url source latency)' PUBLICATION bench ${BENCH_BUILTIN:+WITH ($BENCH_BUILTIN)}"
}

latency_stop_builtin() { sql destination latency -c "DROP SUBSCRIPTION bench"; }

latency_start_agent() { start_agent latency latency run; }

latency_stop_agent() {
    stop_agent
    forget_agent latency
    rm -rf "$folder/state"
}
