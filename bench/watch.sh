#!/usr/bin/env bash
# How long a change of a device takes until a stream tells of it, through the gateway's HTTP.
#
#   bench/watch.sh http://127.0.0.1:8080 KEY      (an API key with devices.read and devices.write)
#
# Needs: python3. CHANGES (300) can be set. Measured from before the request of the change to the event.
set -euo pipefail
URL=${1:?the URL of a gateway} KEY=${2:?an API key} python3 - <<'PYTHON'
import http.client, json, os, statistics, threading, time
from urllib.parse import urlsplit

place = urlsplit(os.environ["URL"])
headers = {"x-api-key": os.environ["KEY"], "accept": "application/x-ndjson"}
synced, told = threading.Event(), {}


def watch():
    connection = http.client.HTTPConnection(place.netloc)
    connection.request("GET", "/v1/devices:watch", headers=headers)
    for line in connection.getresponse():
        event = json.loads(line)
        if "synced" in event:
            synced.set()
        elif "changed" in event:
            told[event["changed"]["displayName"]] = time.perf_counter()


threading.Thread(target=watch, daemon=True).start()
synced.wait()
connection = http.client.HTTPConnection(place.netloc)
begun, answered = {}, {}
for i in range(int(os.environ.get("CHANGES", "300"))):
    name = f"bench-{os.getpid()}-{i}"
    begun[name] = time.perf_counter()
    connection.request("POST", "/v1/devices", json.dumps({"displayName": name}), {**headers, "content-type": "application/json"})
    connection.getresponse().read()
    answered[name] = time.perf_counter()
    time.sleep(0.01)
time.sleep(2)
for what, since in ("from the request", begun), ("from the answer", answered):
    taken = sorted(max(0, 1000 * (told[name] - since[name])) for name in begun if name in told)
    q = statistics.quantiles(taken, n=100)
    print(f"{what}: {len(taken)} of {len(begun)} told; median {q[49]:.1f} ms, 99th percentile {q[98]:.1f} ms, longest {taken[-1]:.1f} ms")
PYTHON
