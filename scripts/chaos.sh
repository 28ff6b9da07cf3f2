#!/bin/sh
# Faults at random against real servers: the test of `make test`, for longer, with its output shown.
#   SEED=n      the same faults again; else new ones
#   MINUTES=m   how long there are faults; default 3
#   FAULTS=servers  restarts of both servers only, one after the other, and checkpoints
set -eu
cd "$(dirname "$0")/.."
SYNC_AGENT_CHAOS_SEED=${SEED:-}
SYNC_AGENT_CHAOS_MINUTES=${MINUTES:-3}
SYNC_AGENT_CHAOS_FAULTS=${FAULTS:-}
export SYNC_AGENT_CHAOS_SEED SYNC_AGENT_CHAOS_MINUTES SYNC_AGENT_CHAOS_FAULTS
# Cargo's own runner: nextest would end a test that takes so long.
exec cargo test --locked --test it -- --nocapture --exact \
    chaos::faults_at_random_lose_nothing_and_repeat_nothing
