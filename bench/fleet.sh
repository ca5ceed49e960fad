#!/usr/bin/env bash
# How long a device registry takes to answer when it holds a thousand devices and when it holds a million: in one tenant, and
# in a thousand tenants. Through the gateway's HTTP/JSON with an API key, a request at a time on one connection.
#
#   bench/fleet.sh sqlite [devices, 1000000]
#   bench/fleet.sh postgres://owner@127.0.0.1/empty_database [devices]
#
# Needs: target/release/muster (or MUSTER_BINARY), python3. ASKED (300), the requests of each kind, can be set.
# It makes twice as many devices: so many in one tenant, and so many in a thousand others.
set -euo pipefail
cd "$(dirname "$0")/.."
url=${1:?sqlite, or the URL of an empty database}
export COUNT=${2:-1000000} ASKED=${ASKED:-300}
export MUSTER=${MUSTER_BINARY:-target/release/muster}
work=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null; wait 2>/dev/null; rm -rf "$work"' EXIT

export MUSTER_ADMIN_EMAIL=admin@example.com MUSTER_ADMIN_PASSWORD='correct horse battery' MUSTER_LOG=warn
export MUSTER_CONFIG_DIR=$work GATEWAY=127.0.0.1:18080
database=()
[ "$url" = sqlite ] || database=(--database-url "$url")
"$MUSTER" up --data "$work/data" --listen $GATEWAY "${database[@]}" >>"$work/log" 2>&1 & pids+=($!)
SERVER=${pids[0]} FOLDER=$work python3 - <<'PYTHON'
import base64, http.client, json, os, random, statistics, subprocess, time
from urllib.parse import quote, urlencode

GATEWAY, COUNT, ASKED = os.environ['GATEWAY'], int(os.environ['COUNT']), int(os.environ['ASKED'])
chance = random.Random(1)


class Caller:
    """One connection, with one credential."""

    def __init__(self, **headers):
        self.headers = headers
        self.connection = http.client.HTTPConnection(GATEWAY)

    def ask(self, method, path, body=None):
        headers = self.headers | ({'content-type': 'application/json'} if body is not None else {})
        self.connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = self.connection.getresponse()
        told = answer.read()
        if answer.status >= 300:
            raise SystemExit(f'{method} {path}: {answer.status} {told.decode()}')
        return json.loads(told)


def ready():
    for _ in range(100):
        try:
            return Caller().ask('GET', '/readyz')
        except (OSError, ValueError, SystemExit):
            time.sleep(0.2)


ready()
email, password = os.environ['MUSTER_ADMIN_EMAIL'], os.environ['MUSTER_ADMIN_PASSWORD']
# The password itself acts for the administrator's own tenant, a session for none yet.
admin = Caller(authorization='Basic ' + base64.b64encode(f'{email}:{password}'.encode()).decode())
session = Caller()


def log_in():
    told = Caller().ask('POST', '/v1/auth:login', {'email': email, 'password': password})
    session.headers = {'authorization': 'Bearer ' + told['accessToken']}


def tenant(name):
    """An API key of a new tenant."""
    # What was idle for long may have been closed; the next request opens it.
    admin.connection.close()
    session.connection.close()
    made = admin.ask('POST', '/v1/tenants', {'displayName': name})
    selected = session.ask('POST', '/v1/auth:selectTenant', {'tenantId': made['id']})['accessToken']
    permissions = ['devices.read', 'devices.write', 'devices.authenticate']
    key = {'displayName': 'bench', 'permissions': permissions}
    return Caller(authorization='Bearer ' + selected).ask('POST', '/v1/apiKeys', key)['secret']


def rows(count):
    yield 'displayName,serialNumber,externalId,labels.region,labels.batch,location.latitude,location.longitude'
    for n in range(count):
        region, batch = ('eu', 'us', 'ap')[n % 3], n // 1000
        yield f'Pump {n},SN-{n:09},ext-{n:09},{region},b{batch},{n % 180 - 90},{n % 360 - 180}'


def fill(key, count):
    file = f'{os.environ["FOLDER"]}/fleet-{count}.csv'
    if not os.path.exists(file):
        with open(file, 'w') as out:
            out.writelines(row + '\n' for row in rows(count))
    command = [os.environ['MUSTER'], 'device', 'import', file, '--server', 'http://' + GATEWAY]
    environment = os.environ | {'MUSTER_API_KEY': key}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(done.stderr)


def devices(**asked):
    return '/v1/devices?' + urlencode(asked, quote_via=quote)


def measure(name, caller, count):
    """What each kind of request takes where there are `count` devices."""

    def timed(kind, path):
        took = []
        for at in range(ASKED + 20):
            asked = path(at)
            begun = time.perf_counter()
            caller.ask(*asked) if isinstance(asked, tuple) else caller.ask('GET', asked)
            took.append(1000 * (time.perf_counter() - begun))
        cut = statistics.quantiles(took[20:], n=100)
        print(f'{name:<34} {kind:<34} p50 {cut[49]:6.2f} ms   p99 {cut[98]:6.2f} ms', flush=True)
        return cut[49]

    some = [chance.randrange(count) for _ in range(200)]
    serial = lambda n: f'SN-{n:09}'
    found = [caller.ask('GET', devices(filter=f'serial_number = "{serial(n)}"'))['devices'][0]['id'] for n in some]
    eu = dict(filter='labels.region = "eu"', pageSize=50)

    def page(number, **asked):
        """The path of this page of a list."""
        token = ''
        for _ in range(number - 1):
            token = caller.ask('GET', devices(pageToken=token, **asked))['nextPageToken']
        return devices(pageToken=token, **asked)

    pages = max(1, min(100, count // 3 // 50))
    last = page(pages, **eu)
    deep = page(pages, pageSize=50)
    figures = {
        'get': timed('get', lambda at: f'/v1/devices/{found[at % 200]}'),
        'list': timed('list, first page of 50', lambda at: devices(pageSize=50)),
        'deep': timed(f'list, page {pages}', lambda at: deep),
        'eu': timed('labels.region = "eu", first page', lambda at: devices(**eu)),
        'last': timed(f'labels.region = "eu", page {pages}', lambda at: last),
    }
    timed('by serial number', lambda at: devices(filter=f'serial_number = "{serial(some[at % 200])}"'))
    timed('prefix of a serial number', lambda at: devices(filter=f'serial_number = "{serial(some[at % 200])[:-1]}*"'))
    timed('ordered by display_name', lambda at: devices(orderBy='display_name', pageSize=50))
    timed('eu, newest update first', lambda at: devices(orderBy='update_time desc', **eu))
    two = 'labels.region = "eu" AND labels.batch = "b0" AND NOT serial_number = "SN-000000003"'
    timed('three conditions', lambda at: devices(filter=two, pageSize=50))
    return figures


def memory():
    with open(f'/proc/{os.environ["SERVER"]}/status') as status:
        return next(int(line.split()[1]) // 1024 for line in status if line.startswith('VmHWM'))


def size(count):
    return f'{count:,} devices'


log_in()
small, big = tenant('small'), tenant('big')
fill(small, 1000)
small = Caller(**{'x-api-key': small})
before = measure(f'{size(1000)}, nothing else', small, 1000)
used = memory()
begun = time.perf_counter()
fill(big, COUNT)
took = time.perf_counter() - begun
print(f'import of {size(COUNT)}: {took:.0f} s, {COUNT / took:,.0f}/s; most memory {used} MiB before, {memory()} MiB after')
big = Caller(**{'x-api-key': big})
after = measure(f'{size(COUNT)} in one tenant', big, COUNT)
# Of the same minute: a machine is not always as fast as it was.
small.connection.close()
beside = measure(f'{size(1000)}, beside {COUNT:,}', small, 1000)
for kind in before:
    times = after[kind] / before[kind], after[kind] / beside[kind]
    print(f'{kind}: {times[0]:.2f} times of {size(1000)} before, {times[1]:.2f} times of them now')

used = memory()
begun = time.perf_counter()
length = 0
big.connection.request('GET', '/v1/devices:export', headers=big.headers | {'accept': 'application/x-ndjson'})
answer = big.connection.getresponse()
while chunk := answer.read1(1 << 20):
    length += chunk.count(b'\n')
took = time.perf_counter() - begun
print(f'export of {length:,} devices: {took:.0f} s, {length / took:,.0f}/s; most memory {used} MiB before, {memory()} MiB after')

begun = time.perf_counter()
log_in()
keys = [tenant(f'tenant {n}') for n in range(1000)]
for key in keys:
    fill(key, COUNT // 1000)
print(f'1,000 tenants of {size(COUNT // 1000)}: {time.perf_counter() - begun:.0f} s')
one = Caller(**{'x-api-key': keys[500]})
after = measure(f'{size(COUNT // 1000)} of 2 x {COUNT:,}', one, COUNT // 1000)
for kind in before:
    print(f'{kind}: {after[kind] / before[kind]:.2f} times of {size(1000)}, nothing else')
PYTHON
