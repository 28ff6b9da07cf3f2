#!/usr/bin/env bash
# How fast the agent is on this machine, beside what else is installed. Two throwaway servers with
# equal settings; every way does the same work in turn, and its result is compared with the source
# afterwards: a wrong result is no result. Writes target/bench/report.md.
#
#   make bench                           everything, three runs (about half an hour)
#   BENCH_SCALE=2 BENCH_RUNS=1 make bench   a quick look (a few minutes; ratios are rough)
#
#   BENCH_SCALE=50        5,000,000 pgbench accounts, 2,000,000 events; tail workloads shrink along
#   BENCH_RUNS=3          runs of each; the report has the median
#   BENCH_ONLY=           of: copy,shapes,transforms,tail,latency (default: all)
#   BENCH_WAYS=           of: text,pipe,floor,builtin,dump,pgcopydb,agent (default: all but text and pipe)
#   BENCH_SHAPES=         of: many,one,wide,toast,indexes (default: all)
#   BENCH_WORKLOADS=      of: ins,tpcb,upd,big (default: all)
#   BENCH_AGENT=          another agent's binary instead of building this one; "none" leaves it out
#   BENCH_BUILTIN=        further options of CREATE SUBSCRIPTION, such as "binary = true"
#   BENCH_DIR=            where the servers' data goes (default: a new folder in TMPDIR or /tmp)
#   PG_BIN=               the folder of another PostgreSQL installation
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/postgres.sh
. scripts/bench/lib.sh
. scripts/bench/copy.sh
. scripts/bench/shapes.sh
. scripts/bench/transforms.sh
. scripts/bench/tail.sh
. scripts/bench/latency.sh
. scripts/bench/report.sh

scale=${BENCH_SCALE:-50}
runs=${BENCH_RUNS:-3}
sections=${BENCH_ONLY:-copy,shapes,transforms,tail,latency}
ways=${BENCH_WAYS:-floor,builtin,dump,pgcopydb,agent}
shapes=${BENCH_SHAPES:-many,one,wide,toast,indexes}
workloads=${BENCH_WORKLOADS:-ins,tpcb,upd,big}
out=${CARGO_TARGET_DIR:-target}/bench

bin=$(postgres_bin) || {
    echo "no PostgreSQL server programs found; run scripts/install-postgres.sh" >&2
    exit 1
}
mkdir -p "$out"
out=$(cd "$out" && pwd)
results=$out/results.tsv
: >"$results"

agent=${BENCH_AGENT:-}
if [ "$agent" = none ]; then
    ways=$(printf '%s' ",$ways," | sed 's/,agent,/,/; s/^,//; s/,$//')
elif [ -z "$agent" ]; then
    "${CARGO:-cargo}" build --release --locked --bin sync-agent
    agent=$(cd "${CARGO_TARGET_DIR:-target}" && pwd)/release/sync-agent
fi
if has "$ways" pgcopydb && ! command -v pgcopydb >/dev/null 2>&1; then
    say "pgcopydb is not installed: left out"
    ways=$(printf '%s' ",$ways," | sed 's/,pgcopydb,/,/; s/^,//; s/,$//')
fi

if [ -n "${BENCH_DIR:-}" ]; then
    mkdir -p "$BENCH_DIR"
    folder=$(mktemp -d "$BENCH_DIR/sync-agent-bench.XXXXXX")
else
    folder=$(mktemp -d "${TMPDIR:-/tmp}/sync-agent-bench.XXXXXX")
fi
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

start_servers
if has "$sections" copy; then bench_copy; fi
if has "$sections" shapes; then bench_shapes; fi
if has "$sections" transforms; then bench_transforms; fi
if has "$sections" tail; then bench_tail; fi
if has "$sections" latency; then bench_latency; fi
write_report >"$out/report.md"
say ""
cat "$out/report.md"
say "$out/report.md"
if awk -F '\t' '$8 != "equal" { bad = 1 } END { exit !bad }' "$results"; then
    echo "a way failed or left other data than the source's: see the report" >&2
    exit 1
fi
