# Sourced by bench.sh: draining a backlog. Every way has a slot of its own from before the workload,
# so all of them read the same WAL, in turn, each into a database of its own.

bench_tail() {
    local run workload way
    prepare_tail || {
        say "the tail could not be set up: see $out/tail-*.log"
        record tail - setup 1 - - - failed
        return 0
    }
    for run in $(seq "$runs"); do
        for workload in $(printf '%s' "$workloads" | tr , ' '); do
            say "tail: the source works on $workload"
            "write_$workload" >"$out/workload-$workload.log" 2>&1
            end_lsn=$(sql source tail -c CHECKPOINT -c "SELECT pg_current_wal_insert_lsn()")
            # A commit behind the end: whoever confirms it has the workload.
            sql source tail -c "UPDATE mark SET n = n + 1"
            for way in $(rotated "$run" "$(tail_ways)"); do
                drain "$run" "$workload" "$way"
            done
        done
    done
    for way in $(tail_ways | tr , ' '); do
        "tail_end_$way" >/dev/null 2>&1 || true
    done
    forget_agent tail
    sql source postgres -c "DROP DATABASE tail WITH (FORCE)"
}

tail_ways() {
    local way list=
    for way in floor builtin agent; do
        if has "$ways" "$way"; then list=${list:+$list,}$way; fi
    done
    printf '%s' "$list"
}

prepare_tail() {
    local way
    say "tail: loading $((scale * 100000)) accounts and $((scale * 10000)) rows to update"
    new_database source tail
    pgbench -i -q -s "$scale" tail >/dev/null 2>&1
    sql source tail -v rows=$((scale * 10000)) -f scripts/bench/tail.sql
    sql source tail -c "VACUUM ANALYZE" -c "CREATE PUBLICATION bench FOR ALL TABLES"
    for way in $(tail_ways | tr , ' '); do
        "tail_begin_$way" >"$out/tail-$way.log" 2>&1 || return 1
    done
}

drain() { # run workload way
    local started status=failed seconds
    settle
    : >"$folder/used"
    started=$(now_ms)
    if "tail_start_$3" >>"$out/tail-$3.log" 2>&1; then status=; fi
    seconds=$(seconds_since "$started")
    "tail_stop_$3" >>"$out/tail-$3.log" 2>&1 || status=failed
    if [ "$status" != failed ]; then
        status=$("tail_compare_$3" "$2")
    else
        tail -n 3 "$out/tail-$3.log" >&2
    fi
    # shellcheck disable=SC2046
    record tail "$2" "$3" "$1" "$seconds" $(used_by_agent) "$status"
}

# Returns when a slot's position has passed the end of the workload.
until_confirmed() { # slot
    sql source tail -f - <<SQL
SET statement_timeout = '20min';
DO \$\$ BEGIN
    WHILE (SELECT confirmed_flush_lsn <= '$end_lsn' FROM pg_replication_slots WHERE slot_name = '$1') LOOP
        PERFORM pg_sleep(0.01);
    END LOOP;
END \$\$
SQL
}

compared() { # destination's database, workload
    case $2 in
        ins) compare tail "$1" ins mark ;;
        tpcb) compare tail "$1" pgbench_history pgbench_accounts pgbench_branches pgbench_tellers mark ;;
        upd) compare tail "$1" upd mark ;;
        big) compare tail "$1" big mark ;;
    esac
}

# === the workloads ===

# 10,000 transactions of 100 rows.
write_ins() { pgbench -n -c 4 -t $((scale * 50)) -f scripts/bench/ins.sql tail; }

# 100,000 transactions of pgbench's own.
write_tpcb() { pgbench -n -c 4 -t $((scale * 500)) tail; }

# 200,000 updates of one row.
write_upd() {
    pgbench -n -c 4 -t $((scale * 1000)) -D rows=$((scale * 10000)) -f scripts/bench/upd.sql tail
}

# Two transactions of 500,000 updates.
write_big() { sql source tail -c "UPDATE big SET n = n + 1, changed_at = now()" -c "UPDATE big SET n = n + 1, changed_at = now()"; }

# === floor: decoding alone ===

tail_begin_floor() {
    sql source tail -c "SELECT pg_create_logical_replication_slot('bench_floor', 'pgoutput')"
}

tail_start_floor() {
    "$bin/pg_recvlogical" -d "$(url source tail)" --slot bench_floor --start --no-loop \
        --endpos "$end_lsn" -o proto_version=1 -o publication_names=bench -f /dev/null
}

tail_stop_floor() {
    sql source tail -c "SELECT pg_drop_replication_slot('bench_floor')" && tail_begin_floor
}

# It writes nowhere.
tail_compare_floor() { echo equal; }

tail_end_floor() { sql source tail -c "SELECT pg_drop_replication_slot('bench_floor')"; }

# === builtin: a subscription ===

tail_begin_builtin() {
    new_database destination tail_builtin &&
        "$bin/pg_dump" -d "$(url source tail)" --no-publications |
            sql destination tail_builtin >/dev/null &&
        sql destination tail_builtin -c "VACUUM ANALYZE" &&
        sql source tail -c "SELECT pg_create_logical_replication_slot('bench_builtin', 'pgoutput')" &&
        sql destination tail_builtin -c "CREATE SUBSCRIPTION bench CONNECTION '$(url source tail)' PUBLICATION bench WITH (connect = false, enabled = false, create_slot = false, slot_name = 'bench_builtin'${BENCH_BUILTIN:+, $BENCH_BUILTIN}$(builtin_streaming))" &&
        sql destination tail_builtin -c "ALTER SUBSCRIPTION bench ENABLE" \
            -c "ALTER SUBSCRIPTION bench REFRESH PUBLICATION WITH (copy_data = false)" &&
        tail_stop_builtin
}

builtin_streaming() {
    if [ "$(sql source postgres -c "SHOW server_version_num")" -ge 160000 ]; then
        echo ", streaming = parallel"
    fi
}

tail_start_builtin() {
    sql destination tail_builtin -c "ALTER SUBSCRIPTION bench ENABLE" && until_confirmed bench_builtin
}

tail_stop_builtin() {
    sql destination tail_builtin -c "ALTER SUBSCRIPTION bench DISABLE"
    while [ "$(sql source tail -c "SELECT active FROM pg_replication_slots WHERE slot_name = 'bench_builtin'")" != f ]; do
        sleep 0.1
    done
}

tail_compare_builtin() { compared tail_builtin "$1"; }

tail_end_builtin() {
    sql destination tail_builtin -c "DROP SUBSCRIPTION bench"
    sql destination postgres -c "DROP DATABASE tail_builtin WITH (FORCE)"
}

# === agent ===

tail_begin_agent() {
    new_database destination tail_agent && run_agent tail tail_agent run --until caught-up &&
        sql destination tail_agent -c "VACUUM ANALYZE"
}

tail_start_agent() { start_agent tail tail_agent run && while_agent_lives until_confirmed sync_agent_tail_agent; }

tail_stop_agent() { stop_agent; }

tail_compare_agent() { compared tail_agent "$1"; }

tail_end_agent() {
    rm -rf "$folder/state"
    sql destination postgres -c "DROP DATABASE tail_agent WITH (FORCE)"
}
