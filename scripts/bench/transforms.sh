# Sourced by bench.sh: what transforms cost. One table is copied as it is and with transforms, in turn; the
# destination's rows are compared with what the source's SQL makes of its own.

transform_ways="plain renamed dropped masked expressions"

bench_transforms() {
    local run way started status seconds
    if ! has "$ways" agent; then return; fi
    say "transforms: loading $((scale * 40000)) people"
    new_database source transforms
    sql source transforms -v rows=$((scale * 2000)) -f scripts/bench/transforms.sql >/dev/null
    sql source transforms -c "VACUUM ANALYZE"
    for run in $(seq "$runs"); do
        for way in $(rotated "$run" "$(printf '%s' "$transform_ways" | tr ' ' ,)"); do
            transform_config "$way" >"$folder/$way.toml"
            new_database destination transforms
            settle
            : >"$folder/used"
            started=$(now_ms)
            status=failed
            if run_agent transforms transforms snapshot --config "$folder/$way.toml" >"$out/transforms-$way.log" 2>&1; then status=; fi
            seconds=$(seconds_since "$started")
            [ "$status" = failed ] || status=$(transformed "$way")
            [ "$status" != failed ] || tail -n 3 "$out/transforms-$way.log" >&2
            # shellcheck disable=SC2046
            record transforms "$way" agent "$run" "$seconds" $(used_by_agent) "$status"
        done
    done
    sql source postgres -c "DROP DATABASE transforms WITH (FORCE)"
    sql destination postgres -c "DROP DATABASE transforms WITH (FORCE)"
}

transform_config() { # way
    echo '[[table]]'
    echo 'name = "public.people"'
    echo '[table.columns]'
    case $1 in
    renamed) echo 'city = { rename = "town" }' ;;
    dropped) echo 'visits = { drop = true }' ;;
    masked)
        echo 'name = { mask = "full" }'
        echo 'email = { mask = "email" }'
        echo 'phone = { mask = { keep_last = 4 } }'
        echo 'ssn = { hash = "sha256" }'
        ;;
    expressions)
        echo "balance = { sql = \"balance * 1.10\" }"
        echo "visits = { sql = \"visits + 1\" }"
        ;;
    esac
}

# What the destination's rows are in the source's SQL, and the columns that hold it.
transform_expected() { # way
    case $1 in
    masked)
        echo "repeat('*', char_length(name)), left(email, 1) || repeat('*', position('@' in email) - 2)
                  || substr(email, position('@' in email)), repeat('*', char_length(phone) - 4) || right(phone, 4),
              encode(sha256(convert_to(ssn, 'UTF8')), 'hex'), city, visits, balance"
        ;;
    dropped) echo "name, email, phone, ssn, city, balance" ;;
    expressions) echo "name, email, phone, ssn, city, visits + 1, balance * 1.10" ;;
    *) echo "name, email, phone, ssn, city, visits, balance" ;;
    esac
}

transform_columns() { # way
    case $1 in
    renamed) echo "name, email, phone, ssn, town, visits, balance" ;;
    dropped) echo "name, email, phone, ssn, city, balance" ;;
    *) echo "name, email, phone, ssn, city, visits, balance" ;;
    esac
}

transformed() { # way
    local here there
    here=$(transform_sum source "$(transform_expected "$1")")
    there=$(transform_sum destination "$(transform_columns "$1")") || there=missing
    if [ "$here" = "$there" ]; then
        echo equal
    else
        say "$1: $here expected, $there at the destination"
        echo DIFFERS
    fi
}

transform_sum() { # side columns
    sql "$1" transforms -c "SELECT count(*), sum(hashtextextended(row(id, created, note, $2)::text, 0)::numeric) FROM people"
}
