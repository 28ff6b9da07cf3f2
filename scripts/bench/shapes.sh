# Sourced by bench.sh: copies of tables of one shape at a time, each from an empty database to the same
# rows and indexes. The floor is two binary pipes at once into tables without keys, which each lane builds
# after its table; two thousand tables have none, for it would measure the starting of psql.

shape_names="many one wide toast indexes"

bench_shapes() {
    local shape run way started status seconds
    for shape in $shape_names; do
        if ! has "$shapes" "$shape"; then continue; fi
        say "shapes: loading $shape"
        new_database source shapes
        sql source shapes -v rows=$((scale * 2000)) -f "scripts/bench/shapes/$shape.sql" >/dev/null
        sql source shapes -c "VACUUM ANALYZE"
        for run in $(seq "$runs"); do
            for way in $(rotated "$run" "$(shape_ways "$shape")"); do
                new_database destination shapes
                settle
                : >"$folder/used"
                started=$(now_ms)
                status=failed
                if "shape_by_$way" >"$out/shape-$shape-$way.log" 2>&1; then status=; fi
                seconds=$(seconds_since "$started")
                [ "$status" = failed ] || status=$(shape_copied)
                [ "$status" != failed ] || tail -n 3 "$out/shape-$shape-$way.log" >&2
                # shellcheck disable=SC2046
                record shapes "$shape" "$way" "$run" "$seconds" $(used_by_agent) "$status"
            done
        done
    done
    sql source postgres -c "DROP DATABASE shapes WITH (FORCE)"
    sql destination postgres -c "DROP DATABASE shapes WITH (FORCE)"
}

shape_ways() { # shape
    local way list=
    for way in floor dump pgcopydb agent; do
        if has "$ways" "$way" && [ "$1 $way" != "many floor" ]; then list=${list:+$list,}$way; fi
    done
    printf '%s' "$list"
}

shape_tables() {
    sql source shapes -c "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1"
}

# The same rows, and as many valid indexes.
shape_copied() {
    local here there
    here=$(shape_contents source)
    there=$(shape_contents destination) || there=missing
    if [ "$here" = "$there" ]; then
        echo equal
    else
        say "$(diff <(echo "$here") <(echo "$there") | head -n 3 | tr '\n' ' ')"
        echo DIFFERS
    fi
}

# By one session a side: two thousand would take longer than what is measured.
shape_contents() { # side
    sql "$1" shapes -f - <<SQL
SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
 WHERE i.indisvalid AND c.relnamespace = 'public'::regnamespace;
SELECT format('SELECT %L, count(*), sum(hashtextextended(t::text, 0)::numeric) FROM %s t', oid::regclass, oid::regclass)
  FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY relname \gexec
SQL
}

shape_by_floor() {
    local table lane lanes=
    "$bin/pg_dump" -d "$(url source shapes)" --section=pre-data | sql destination shapes >/dev/null || return 1
    for table in $(shape_tables); do
        {
            sql source shapes -c "COPY $table TO STDOUT (FORMAT binary)" |
                sql destination shapes -c BEGIN -c "TRUNCATE $table" -c "COPY $table FROM STDIN (FORMAT binary, FREEZE)" -c COMMIT &&
                "$bin/pg_dump" -d "$(url source shapes)" -t "$table" --section=post-data | sql destination shapes >/dev/null
        } &
        lanes="$lanes $!"
    done
    for lane in $lanes; do wait "$lane" || return 1; done
}

shape_by_dump() {
    rm -rf "$folder/dump"
    "$bin/pg_dump" -Fd -Z0 -j2 -f "$folder/dump" "$(url source shapes)" &&
        "$bin/pg_restore" -j2 -d "$(url destination shapes)" "$folder/dump" &&
        rm -rf "$folder/dump"
}

shape_by_pgcopydb() {
    local binary=
    if pgcopydb clone --help 2>&1 | grep -q -- --use-copy-binary; then binary=--use-copy-binary; fi
    rm -rf "$folder/pgcopydb"
    pgcopydb clone --source "$(url source shapes)" --target "$(url destination shapes)" \
        --dir "$folder/pgcopydb" --table-jobs 2 --index-jobs 2 --split-tables-larger-than 256MB $binary
}

shape_by_agent() { run_agent shapes shapes snapshot; }
