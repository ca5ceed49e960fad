#!/usr/bin/env bash
# Requests a second of GET and POST of a device, through the gateway's HTTP/JSON, with an API key.
#
#   bench/devices.sh sqlite
#   bench/devices.sh postgres postgres://owner@127.0.0.1/empty_database
#   bench/devices.sh split    postgres://owner@127.0.0.1/empty_database
#
# Needs: target/release/muster (or MUSTER_BINARY), curl, python3, h2load (Debian: nghttp2-client).
# SECONDS_EACH (10) and CLIENTS (16) can be set. The load runs on the same machine.
set -euo pipefail
cd "$(dirname "$0")/.."
shape=${1:?sqlite, postgres or split} url=${2:-}
muster=${MUSTER_BINARY:-target/release/muster}
seconds=${SECONDS_EACH:-10} clients=${CLIENTS:-16}
work=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null; wait 2>/dev/null; rm -rf "$work"' EXIT

export MUSTER_ADMIN_EMAIL=admin@example.com MUSTER_ADMIN_PASSWORD='correct horse battery' MUSTER_LOG=warn
gateway=127.0.0.1:18080

start() { "$@" >>"$work/log" 2>&1 & pids+=($!); }

case $shape in
sqlite)
    start "$muster" up --data "$work/data" --listen $gateway ;;
postgres)
    start "$muster" up --data "$work/data" --listen $gateway --database-url "$url" ;;
split)
    export MUSTER_DATABASE_URL=$url MUSTER_IDENTITY=127.0.0.1:18081 MUSTER_TENANCY=127.0.0.1:18082
    export MUSTER_DEVICE_REGISTRY=127.0.0.1:18083 MUSTER_KEY_MANAGEMENT=127.0.0.1:18084
    "$muster" migrate up >"$work/log"
    "$muster" admin service-keys --out "$work/keys" >>"$work/log"
    export MUSTER_SERVICE_KEYS=$work/keys/services.json
    MUSTER_MASTER_KEY=$("$muster" admin master-key)
    export MUSTER_MASTER_KEY
    start "$muster" serve identity --listen $MUSTER_IDENTITY --service-key "$work/keys/identity.pem"
    start "$muster" serve tenancy --listen $MUSTER_TENANCY --service-key "$work/keys/tenancy.pem"
    start "$muster" serve device-registry --listen $MUSTER_DEVICE_REGISTRY --service-key "$work/keys/device-registry.pem"
    start "$muster" serve key-management --listen $MUSTER_KEY_MANAGEMENT --service-key "$work/keys/key-management.pem"
    start "$muster" serve gateway --listen $gateway --service-key "$work/keys/gateway.pem"
    "$muster" admin init --service-key "$work/keys/operator.pem" >>"$work/log" ;;
*) echo "sqlite, postgres or split" >&2; exit 2 ;;
esac

for _ in $(seq 100); do
    curl -sf "http://$gateway/readyz" >/dev/null && break
    sleep 0.2
done

field() { python3 -c 'import json,sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }
admin="$MUSTER_ADMIN_EMAIL:$MUSTER_ADMIN_PASSWORD"
key=$(curl -sf -u "$admin" --json '{"displayName":"bench","permissions":["devices.read","devices.write"]}' "http://$gateway/v1/apiKeys" | field secret)
echo '{"displayName":"dev-001","description":"on the roof","labels":{"region":"eu"}}' >"$work/device.json"
id=$(curl -sf -H "x-api-key: $key" --json @"$work/device.json" "http://$gateway/v1/devices" | field id)

load() { # name, h2load arguments
    local name=$1; shift
    h2load --h1 -D "$seconds" --warm-up-time 2 -c "$clients" -t 1 -H "x-api-key: $key" "$@" >"$work/out"
    awk -v shape="$shape" -v name="$name" '
        /^finished in/ { rate = $4 }
        /^status codes:/ { codes = $3 " " $4 " " $5 " " $6 " " $7 " " $8 " " $9 " " $10 }
        /^time for request:/ { mean = $6; max = $5 }
        END { printf "%-9s %-16s %10s req/s   mean %8s  max %8s   %s\n", shape, name, rate, mean, max, codes }' "$work/out"
}

load 'GET device' "http://$gateway/v1/devices/$id"
load 'POST device' -H 'content-type: application/json' -d "$work/device.json" "http://$gateway/v1/devices"
for pid in "${pids[@]}"; do
    printf '%-9s memory of %-32s %6d KiB\n' "$shape" "$(tr '\0' ' ' </proc/"$pid"/cmdline | cut -d' ' -f2-3)" \
        "$(awk '/^VmRSS/ { print $2 }' /proc/"$pid"/status)"
done
