#!/usr/bin/env bash
# Devices a second that `muster device import` brings into PostgreSQL, through the gateway and with a record of each,
# beside PostgreSQL's own COPY of the same rows into the same tables, in the same run; and how fast they are exported.
#
#   bench/import.sh postgres://owner@127.0.0.1/empty_database [devices, 1000000]
#   bench/import.sh sqlite [devices]
#
# Needs: target/release/muster (or MUSTER_BINARY), curl, python3, psql. All of it runs on one machine.
set -euo pipefail
cd "$(dirname "$0")/.."
url=${1:?sqlite, or the URL of an empty database} count=${2:-1000000}
muster=${MUSTER_BINARY:-target/release/muster}
work=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null; wait 2>/dev/null; rm -rf "$work"' EXIT

export MUSTER_ADMIN_EMAIL=admin@example.com MUSTER_ADMIN_PASSWORD='correct horse battery' MUSTER_LOG=warn
export MUSTER_CONFIG_DIR=$work
gateway=127.0.0.1:18080
database=()
[ "$url" = sqlite ] || database=(--database-url "$url")
"$muster" up --data "$work/data" --listen $gateway "${database[@]}" >>"$work/log" 2>&1 & pids+=($!)
for _ in $(seq 100); do
    curl -sf "http://$gateway/readyz" >/dev/null && break
    sleep 0.2
done
echo "$MUSTER_ADMIN_PASSWORD" | "$muster" login --server "http://$gateway" --email "$MUSTER_ADMIN_EMAIL" --password-stdin >/dev/null

python3 - "$count" >"$work/fleet.csv" <<'PYTHON'
import sys
print('displayName,serialNumber,externalId,labels.region,labels.batch,location.latitude,location.longitude')
for n in range(int(sys.argv[1])):
    print(f'Pump {n},SN-{n:09},ext-{n:09},{("eu", "us", "ap")[n % 3]},b{n // 1000},{n % 180 - 90},{n % 360 - 180}')
PYTHON

resident() { awk '/^VmHWM/ { print $2 }' "/proc/${pids[0]}/status"; }
timed() { # name, rows, command
    local name=$1 rows=$2 begin end; shift 2
    begin=$(date +%s.%N); "$@" >"$work/out" 2>&1 || { cat "$work/out"; exit 1; }; end=$(date +%s.%N)
    awk -v n="$name" -v r="$rows" -v b="$begin" -v e="$end" 'BEGIN { printf "%-34s %8.1f s  %9.0f devices/s\n", n, e - b, r / (e - b) }'
}

printf 'server: most memory before %28s KiB\n' "$(resident)"
timed 'muster device import, new' "$count" "$muster" device import "$work/fleet.csv"
timed 'import again, unchanged' "$count" "$muster" device import "$work/fleet.csv" --match-by serial-number
sed '2,$s/^Pump/Valve/' "$work/fleet.csv" >"$work/changed.csv"
timed 'import again, each changed' "$count" "$muster" device import "$work/changed.csv" --match-by serial-number
timed 'muster device export, CSV' "$count" "$muster" device export --file "$work/again.csv"
printf 'server: most memory after %29s KiB\n' "$(resident)"
[ "$(wc -l <"$work/again.csv")" = $((count + 1)) ] || { echo "the export is not whole" >&2; exit 1; }
[ "$url" = sqlite ] && exit

# The same rows into copies of the same tables, with the same indexes and keys.
schema=$(psql -qAt "$url" -c "SELECT table_schema FROM information_schema.tables WHERE table_name = 'device_labels'")
psql -q "$url" -v ON_ERROR_STOP=1 >/dev/null <<SQL
CREATE SCHEMA beside;
CREATE TABLE beside.devices (LIKE $schema.devices INCLUDING ALL);
CREATE TABLE beside.device_labels (LIKE $schema.device_labels INCLUDING ALL);
CREATE TABLE beside.events (LIKE $schema.events INCLUDING ALL);
ALTER TABLE beside.device_labels ADD FOREIGN KEY (tenant_id, device_id) REFERENCES beside.devices (tenant_id, id) ON DELETE CASCADE;
\\copy (SELECT * FROM $schema.devices) TO '$work/devices.copy'
\\copy (SELECT * FROM $schema.device_labels) TO '$work/labels.copy'
\\copy (SELECT * FROM $schema.events WHERE collection = 'devices' ORDER BY number LIMIT $count) TO '$work/events.copy'
SQL
copy() { psql -q "$url" -v ON_ERROR_STOP=1 -c "BEGIN" -c "\\copy beside.$1 FROM '$work/$2.copy'" -c "COMMIT"; }
three() { copy devices devices; copy device_labels labels; copy events events; }
timed 'COPY of devices, labels, records' "$count" three
psql -q "$url" -c 'DROP SCHEMA beside CASCADE' 2>/dev/null
