# Sourced by bench.sh: a whole copy, from an empty database to the same rows with primary keys.

copy_tables="pgbench_accounts events pgbench_branches pgbench_tellers"

bench_copy() {
    local run way started status seconds
    say "copy: loading $((scale * 100000)) accounts and $((scale * 40000)) events"
    new_database source copy
    pgbench -i -q -s "$scale" copy >/dev/null 2>&1
    sql source copy -v rows=$((scale * 40000)) -f scripts/bench/events.sql
    sql source copy -c "VACUUM ANALYZE"
    copy_bytes=$(sql source copy -c "SELECT sum(pg_table_size(c.oid)) FROM pg_class c WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")
    for run in $(seq "$runs"); do
        for way in $(rotated "$run" "$(copy_ways)"); do
            new_database destination copy
            settle
            : >"$folder/used"
            started=$(now_ms)
            status=failed
            if "copy_by_$way" >"$out/copy-$way.log" 2>&1; then status=; fi
            seconds=$(seconds_since "$started")
            stop_agent >>"$out/copy-$way.log" 2>&1 || status=failed
            [ "$status" = failed ] || status=$(copied)
            [ "$status" != failed ] || tail -n 3 "$out/copy-$way.log" >&2
            "copy_after_$way" >>"$out/copy-$way.log" 2>&1 || true
            # shellcheck disable=SC2046
            record copy - "$way" "$run" "$seconds" $(used_by_agent) "$status"
        done
    done
    sql source postgres -c "DROP DATABASE copy WITH (FORCE)"
    sql destination postgres -c "DROP DATABASE copy WITH (FORCE)"
}

# The agent has two ways.
copy_ways() { printf '%s' "$ways" | sed 's/agent/snapshot,run/'; }

copied() {
    local keys
    # shellcheck disable=SC2086
    if [ "$(compare copy copy $copy_tables)" != equal ]; then
        echo DIFFERS
        return
    fi
    keys=$(sql destination copy -c "SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid WHERE i.indisprimary AND i.indisvalid AND c.relnamespace = 'public'::regnamespace")
    if [ "$keys" = 4 ]; then echo equal; else echo DIFFERS; fi
}

used_by_agent() {
    if [ -s "$folder/used" ]; then cat "$folder/used"; else echo "- -"; fi
}

copy_schema() { # sections of pg_dump
    "$bin/pg_dump" -d "$(url source copy)" "$@" | sql destination copy >/dev/null
}

# === the ways ===

pipe() { # table format destination's statements before
    sql source copy -c "COPY $1 TO STDOUT ($2)" |
        sql destination copy -c BEGIN -c "$3" -c "COPY $1 FROM STDIN ($2${4:+, $4})" -c COMMIT
}

copy_by_text() {
    local table
    copy_schema --schema-only || return 1
    for table in $copy_tables; do
        pipe "$table" "FORMAT text" "SELECT" || return 1
    done
}

copy_by_pipe() {
    local table
    copy_schema --schema-only || return 1
    for table in $copy_tables; do
        pipe "$table" "FORMAT binary" "SELECT" || return 1
    done
}

# What no tool can beat by much: both large tables at once, keys afterwards.
copy_by_floor() {
    local first second
    copy_schema --section=pre-data || return 1
    {
        pipe pgbench_accounts "FORMAT binary" "TRUNCATE pgbench_accounts" FREEZE &&
            sql destination copy -c "ALTER TABLE pgbench_accounts ADD PRIMARY KEY (aid)"
    } &
    first=$!
    {
        pipe events "FORMAT binary" "TRUNCATE events" FREEZE &&
            sql destination copy -c "ALTER TABLE events ADD PRIMARY KEY (id)"
    } &
    second=$!
    pipe pgbench_branches "FORMAT binary" "SELECT" &&
        pipe pgbench_tellers "FORMAT binary" "SELECT" &&
        sql destination copy -c "ALTER TABLE pgbench_branches ADD PRIMARY KEY (bid)" \
            -c "ALTER TABLE pgbench_tellers ADD PRIMARY KEY (tid)" || return 1
    wait "$first" && wait "$second"
}

copy_by_builtin() {
    copy_schema --schema-only || return 1
    sql source copy -c "CREATE PUBLICATION bench FOR ALL TABLES" || return 1
    sql destination copy -c "CREATE SUBSCRIPTION bench CONNECTION '$(url source copy)' PUBLICATION bench ${BENCH_BUILTIN:+WITH ($BENCH_BUILTIN)}" || return 1
    sql destination copy -c "SET statement_timeout = '1h'" -f - <<'SQL'
DO $$ BEGIN
    WHILE EXISTS (SELECT FROM pg_subscription_rel WHERE srsubstate NOT IN ('s', 'r')) LOOP
        PERFORM pg_sleep(0.02);
    END LOOP;
END $$
SQL
}

copy_by_dump() {
    "$bin/pg_dump" -Fd -Z0 -j2 -f "$folder/dump" "$(url source copy)" &&
        "$bin/pg_restore" -j2 -d "$(url destination copy)" "$folder/dump"
}

copy_by_pgcopydb() {
    local binary=
    if pgcopydb clone --help 2>&1 | grep -q -- --use-copy-binary; then binary=--use-copy-binary; fi
    pgcopydb clone --source "$(url source copy)" --target "$(url destination copy)" \
        --dir "$folder/pgcopydb" --table-jobs 2 --index-jobs 2 $binary
}

copy_by_snapshot() { run_agent copy copy snapshot; }

# Until every table is recorded as copied; stopping comes after the clock.
copy_by_run() { start_agent copy copy run && while_agent_lives until_copied; }

until_copied() {
    sql destination copy -f - <<'SQL'
SET statement_timeout = '20min';
DO $$
DECLARE copied bigint := 0;
BEGIN
    WHILE copied < 5 LOOP
        PERFORM pg_sleep(0.02);
        IF to_regclass('sync_agent.tables') IS NOT NULL THEN
            SELECT count(*) INTO copied FROM sync_agent.tables WHERE state = 'copied';
        END IF;
        -- A table that another transaction created is only seen by the next one.
        COMMIT;
    END LOOP;
END $$
SQL
}

# === what they leave behind ===

copy_after_text() { :; }
copy_after_pipe() { :; }
copy_after_floor() { :; }
copy_after_dump() { rm -rf "$folder/dump"; }
copy_after_snapshot() { :; }

copy_after_pgcopydb() {
    rm -rf "$folder/pgcopydb"
}

copy_after_builtin() {
    sql destination copy -c "DROP SUBSCRIPTION IF EXISTS bench"
    sql source copy -c "DROP PUBLICATION IF EXISTS bench"
}

copy_after_run() {
    forget_agent copy
    rm -rf "$folder/state"
}
