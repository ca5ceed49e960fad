#!/usr/bin/env bash
# Verification of API keys over gRPC (cold, warm, by a hundred), beside a bare tonic service in the
# same run; authentication of devices (cold, warm); then signing and verifying tokens by algorithm.
#
#   bench/verify.sh sqlite
#   bench/verify.sh postgres postgres://owner@127.0.0.1/empty_database --calls 50000
#
# Builds what it needs. Needs curl and python3. The load runs on the same machine.
set -euo pipefail
cd "$(dirname "$0")/.."
shape=${1:?sqlite or postgres}
shift
database=()
[ "$shape" = sqlite ] || { database=(--database-url "${1:?URL}"); shift; }
[ -n "${BUILT:-}" ] || cargo build --release --locked -p muster -p muster-bench
muster=target/release/muster bench=target/release/muster-bench
work=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null; wait 2>/dev/null; rm -rf "$work"' EXIT

export MUSTER_ADMIN_EMAIL=admin@example.com MUSTER_ADMIN_PASSWORD='correct horse battery' MUSTER_LOG=warn
gateway=127.0.0.1:18080 echo=127.0.0.1:18090
"$muster" up --data "$work/data" --listen $gateway "${database[@]}" >"$work/log" 2>&1 & pids+=($!)
"$bench" echo $echo & pids+=($!)
for _ in $(seq 100); do
    curl -sf "http://$gateway/readyz" >/dev/null && break
    sleep 0.2
done

field() { python3 -c 'import json,sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }
MUSTER_CREDENTIAL=$(curl -sf -u "$MUSTER_ADMIN_EMAIL:$MUSTER_ADMIN_PASSWORD" "http://$gateway/v1/apiKeys" \
    --json '{"displayName":"bench","permissions":["devices.read","devices.write","credentials.write","devices.authenticate","keys.write","keys.verify"]}' | field secret)
export MUSTER_CREDENTIAL
"$bench" verify --muster "http://$gateway" --echo "http://$echo" "$@"
"$bench" authenticate --muster "http://$gateway"
"$bench" sign
