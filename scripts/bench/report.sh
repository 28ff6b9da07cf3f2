# Sourced by bench.sh: the results as Markdown.

write_report() {
    cat <<TXT
# Benchmark

$(date -u +'%Y-%m-%d %H:%M UTC'), $(agent_version), $("$bin/postgres" --version)$(pgcopydb_version)

Machine: $(machine). Both servers, the peers and the agent share it; loopback TCP without TLS.
Settings of both servers: $(sed '/^#/d; s/ = /=/' scripts/bench/server.conf | tr '\n' ' ')
BENCH_SCALE=$scale, BENCH_RUNS=$runs: the median of each, ways in turn. Times on another machine will differ; the
ratios are what to look at. Data is compared afterwards: a way that left other rows has no figure.
TXT
    if has "$sections" copy; then report_copy; fi
    if has "$sections" shapes; then report_shapes; fi
    if has "$sections" transforms; then report_transforms; fi
    if has "$sections" tail; then report_tail; fi
    if has "$sections" latency; then report_latency; fi
}

agent_version() {
    if [ "$agent" = none ]; then
        echo "without the agent"
    else
        echo "$("$agent" --version) $(git describe --always --dirty 2>/dev/null || true)"
    fi
}

pgcopydb_version() {
    if has "$ways" pgcopydb; then echo ", pgcopydb $(pgcopydb --version 2>&1 | awk 'NR == 1 { print $NF }')"; fi
}

machine() {
    local model
    model=$(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo 2>/dev/null | head -n 1)
    echo "$(getconf _NPROCESSORS_ONLN) × ${model:-$(uname -m)}, $(awk '/^MemTotal/ { printf "%d GiB", $2 / 1048576 }' /proc/meminfo 2>/dev/null), $(uname -s) $(uname -r)"
}

# One line a workload and way: section, workload, way, median, all runs, CPU, peak KiB, verdict.
medians() { # section
    awk -F '\t' -v section="$1" '
        $1 == section {
            key = $2 "\t" $3
            if (!(key in seen)) { seen[key] = ++count; order[count] = key; verdict[key] = "equal" }
            if ($8 != "equal") { verdict[key] = $8; next }
            n[key]++; seconds[key, n[key]] = $5; all[key] = all[key] (n[key] > 1 ? ", " : "") $5
            if ($6 != "-") { cpus[key]++; cpu[key, cpus[key]] = $6 }
            if ($7 != "-" && $7 + 0 > peak[key] + 0) peak[key] = $7
        }
        function median(values, key, size,    i, j, sorted, swap) {
            if (size == 0) return "-"
            for (i = 1; i <= size; i++) sorted[i] = values[key, i] + 0
            for (i = 1; i <= size; i++) for (j = i + 1; j <= size; j++)
                if (sorted[j] < sorted[i]) { swap = sorted[i]; sorted[i] = sorted[j]; sorted[j] = swap }
            return size % 2 ? sorted[(size + 1) / 2] : (sorted[size / 2] + sorted[size / 2 + 1]) / 2
        }
        END {
            for (i = 1; i <= count; i++) {
                key = order[i]
                printf "%s\t%s\t%s\t%s\t%s\t%s\n", key, median(seconds, key, n[key]), all[key],
                    median(cpu, key, cpus[key]), peak[key] == "" ? "-" : peak[key], verdict[key]
            }
        }' "$results"
}

name_of() {
    cat <<'TXT'
text	psql `COPY` text to psql, one table after the other
pipe	psql `COPY` binary pipe, keys in place, one after the other
floor	**floor**: binary pipes at once into tables without keys (`FREEZE`), keys built after
builtin	built-in logical replication, initial sync
dump	`pg_dump -Fd -Z0 -j2`, then `pg_restore -j2`
pgcopydb	`pgcopydb clone --table-jobs 2 --index-jobs 2`
snapshot	`sync-agent snapshot`
run	`sync-agent run`, until every table is copied
TXT
}

report_copy() {
    echo
    echo "## Copy"
    echo
    awk -v accounts="$((scale * 100000))" -v events="$((scale * 40000))" -v bytes="${copy_bytes:-0}" 'BEGIN {
        printf "%d pgbench accounts and %d events with jsonb, %d MB with TOAST; ends with the same rows and primary keys.\n", accounts, events, bytes / 1e6 }'
    echo
    echo "| way | seconds | against the floor | runs | agent's CPU s | per GB | agent's peak RSS | data |"
    echo "| --- | --- | --- | --- | --- | --- | --- | --- |"
    { name_of; echo; medians copy; } | awk -F '\t' -v gb="$(awk -v b="${copy_bytes:-0}" 'BEGIN { print b / 1e9 }')" '
        NF == 0 { body = 1; next }
        !body { name[$1] = $2; next }
        { line[++count] = $0; if ($2 == "floor") floor = $3 }
        END {
            for (i = 1; i <= count; i++) {
                split(line[i], f, "\t")
                printf "| %s | %s | %s | %s | %s | %s | %s | %s |\n", name[f[2]], shown(f[3]),
                    ratio(f[3], floor), (f[4] == "" ? "-" : f[4]), f[5], ratio(f[5], gb), mebibytes(f[6]), f[7]
            }
        }
        function shown(s) { return s == "-" ? s : sprintf("%.2f", s) }
        function ratio(a, b) { return (a + 0 > 0 && b + 0 > 0) ? sprintf("%.2f", a / b) : "-" }
        function mebibytes(k) { return k == "-" ? k : sprintf("%d MiB", k / 1024) }'
}

report_shapes() {
    echo
    echo "## Copy: shapes"
    echo
    echo "Two thousand small tables; one large table; two with a hundred columns; two whose values live in TOAST; two with"
    echo "five secondary indexes. The destination ends with the same rows and indexes. The floor is two binary pipes at once"
    echo "into tables without keys (\`FREEZE\`), each with its indexes after it; two thousand tables have none."
    echo
    echo "| shape | floor s | dump s | pgcopydb s | agent s | agent against the floor | agent against pgcopydb | agent's CPU s | agent's peak RSS | data |"
    echo "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    medians shapes | awk -F '\t' '
        { seconds[$1, $2] = $3; cpu[$1, $2] = $5; peak[$1, $2] = $6
          if (!($1 in seen)) { seen[$1] = ++count; order[count] = $1 }
          if ($7 != "equal") bad[$1] = bad[$1] " " $2 ": " $7 }
        END {
            for (i = 1; i <= count; i++) {
                s = order[i]; a = seconds[s, "agent"]; f = seconds[s, "floor"]; p = seconds[s, "pgcopydb"]
                printf "| `%s` | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", s, shown(f), shown(seconds[s, "dump"]), shown(p), shown(a),
                    ratio(a, f), ratio(a, p), (cpu[s, "agent"] == "" ? "-" : cpu[s, "agent"]),
                    (peak[s, "agent"] + 0 == 0 ? "-" : sprintf("%d MiB", peak[s, "agent"] / 1024)), (bad[s] == "" ? "equal" : bad[s])
            }
        }
        function shown(s) { return s == "" || s == "-" ? "-" : sprintf("%.2f", s) }
        function ratio(a, b) { return (a + 0 > 0 && b + 0 > 0) ? sprintf("%.2f", a / b) : "-" }'
}

report_transforms() {
    echo
    echo "## Copy: transforms"
    echo
    echo "$((scale * 40000)) rows of ten columns, copied as they are; with one column renamed; one dropped; three masks and a hash;"
    echo "two expressions in SQL. The destination's rows are compared with what the source's SQL makes of its own."
    echo
    echo "| transforms | agent s | against plain | agent's CPU s | agent's peak RSS | data |"
    echo "| --- | --- | --- | --- | --- | --- |"
    medians transforms | awk -F '\t' '
        { line[++count] = $0; if ($1 == "plain") plain = $3 }
        END {
            for (i = 1; i <= count; i++) {
                split(line[i], f, "\t")
                printf "| %s | %s | %s | %s | %s | %s |\n", f[1], (f[3] == "-" ? "-" : sprintf("%.2f", f[3])),
                    ((f[3] + 0 > 0 && plain + 0 > 0) ? sprintf("%.2f", f[3] / plain) : "-"), f[5],
                    (f[6] == "-" ? "-" : sprintf("%d MiB", f[6] / 1024)), f[7]
            }
        }'
}

report_tail() {
    echo
    echo "## Tail: draining a backlog"
    echo
    echo "The workload runs while nobody reads; the clock runs from the start of the reader until its slot's"
    echo "\`confirmed_flush_lsn\` has passed the workload's end. The floor is \`pg_recvlogical\` with pgoutput: it decodes and"
    echo "writes nothing. Scaled to the table's figures: \`ins\` $((scale * 200)) transactions of 100 inserts, \`tpcb\` $((scale * 2000))"
    echo "transactions of pgbench, \`upd\` $((scale * 4000)) updates of one row, \`big\` two transactions of $((scale * 10000)) updates."
    echo
    echo "| workload | floor s | built-in s | agent s | agent against built-in | agent against the floor | agent's CPU s | agent's peak RSS | data |"
    echo "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    medians tail | awk -F '\t' '
        { seconds[$1, $2] = $3; cpu[$1, $2] = $5; peak[$1, $2] = $6
          if (!($1 in seen)) { seen[$1] = ++count; order[count] = $1 }
          if ($7 != "equal") bad[$1] = bad[$1] " " $2 ": " $7 }
        END {
            for (i = 1; i <= count; i++) {
                w = order[i]; a = seconds[w, "agent"]; b = seconds[w, "builtin"]; f = seconds[w, "floor"]
                printf "| `%s` | %s | %s | %s | %s | %s | %s | %s | %s |\n", w, shown(f), shown(b), shown(a),
                    ratio(b, a, " times as fast"), ratio(a, f, ""), (cpu[w, "agent"] == "" ? "-" : cpu[w, "agent"]),
                    (peak[w, "agent"] + 0 == 0 ? "-" : sprintf("%d MiB", peak[w, "agent"] / 1024)), (bad[w] == "" ? "equal" : bad[w])
            }
        }
        function shown(s) { return s == "" || s == "-" ? "-" : sprintf("%.2f", s) }
        function ratio(a, b, unit) { return (a + 0 > 0 && b + 0 > 0) ? sprintf("%.2f", a / b) unit : "-" }'
}

report_latency() {
    echo
    echo "## Latency and memory"
    echo
    echo "From a row written at the source to the same row written at the destination, $latency_rate single-insert transactions a"
    echo "second for $latency_seconds s."
    echo
    echo "| way | p50 ms | p99 ms | agent's CPU s | agent's peak RSS | data |"
    echo "| --- | --- | --- | --- | --- | --- |"
    medians latency | awk -F '\t' '
        { value[$1, $2] = $3; cpu[$2] = $5; peak[$2] = $6; verdict[$2] = $7
          if (!($2 in seen)) { seen[$2] = ++count; order[count] = $2 } }
        END {
            for (i = 1; i <= count; i++) {
                w = order[i]
                printf "| %s | %s | %s | %s | %s | %s |\n", (w == "agent" ? "sync-agent" : "built-in"), value["p50_ms", w],
                    value["p99_ms", w], cpu[w], (peak[w] == "-" ? "-" : sprintf("%d MiB", peak[w] / 1024)), verdict[w]
            }
        }'
    medians memory | awk -F '\t' '$6 != "-" { printf "\nThe agent streaming and idle: %d MiB.\n", $6 / 1024 }'
}
