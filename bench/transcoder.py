"""What transcoder.sh runs: ratios of criterion's results, and load on four servers of one contract.

handler  axum and serde, with types written by hand
process  the transcoder and a bare tonic service in one process
proxy    the transcoder as a process of its own, in front of the tonic service
Envoy    its filter grpc_json_transcoder, in front of the same service

What is measured has the first core to itself. The load has the second, with the tonic service that
proxies are in front of. CPU is what the measured process used for a request, from /proc: a core
that does nothing else makes 1 / CPU requests a second.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

SECONDS = float(os.environ.get('SECONDS_EACH', '2'))
CLIENTS = os.environ.get('CLIENTS', '16')
SERVICE, PORTS = 18101, {'handler': 18102, 'process': 18103, 'proxy': 18104, 'Envoy': 18105}


def ratios(results):
    """Prints how long each way takes, and how that compares with pbjson's."""
    def best(*name):
        """Of criterion's samples, what one in twenty is below: other work on the machine is not in it."""
        samples = json.loads(Path(results, *name, 'new', 'sample.json').read_text())
        times = sorted(time / rounds for time, rounds in zip(samples['times'], samples['iters']))
        return times[len(times) // 20] / 1000

    print(f'{"":14}{"transcoder":>12}{"pbjson":>12}{"reflect":>12}{"of pbjson":>12}')
    for way in ('read', 'print'):
        for size in ('small', 'list'):
            ours, pbjson, reflect = (best(f'{way}_{size}', name)
                                     for name in ('transcoder', 'pbjson', 'prost-reflect'))
            print(f'{way + " " + size:14}{ours:9.2f} µs{pbjson:9.2f} µs{reflect:9.2f} µs{ours / pbjson:12.2f}')
    for name in ('transcoder', 'prost-reflect'):
        one, two = (best('threads', f'{name}_{threads}') for threads in (1, 2))
        print(f'{name} on two threads: {one / two:.2f} of one')


def envoy_config(descriptors, port):
    """Envoy with the filter and nothing else."""
    def address(port):
        return {'socket_address': {'address': '127.0.0.1', 'port_value': port}}

    def typed(name, **fields):
        return {'@type': f'type.googleapis.com/envoy.extensions.{name}', **fields}

    transcoder = typed('filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder',
                       proto_descriptor=descriptors, services=['fleet.v1.Fleet'])
    router = typed('filters.http.router.v3.Router')
    manager = typed(
        'filters.network.http_connection_manager.v3.HttpConnectionManager',
        stat_prefix='http',
        http_filters=[{'name': 'transcoder', 'typed_config': transcoder},
                      {'name': 'envoy.filters.http.router', 'typed_config': router}],
        route_config={'virtual_hosts': [{'name': 'all', 'domains': ['*'], 'routes': [
            {'match': {'prefix': '/'}, 'route': {'cluster': 'service'}}]}]})
    http2 = typed('upstreams.http.v3.HttpProtocolOptions',
                  explicit_http_config={'http2_protocol_options': {}})
    endpoint = {'endpoint': {'address': address(SERVICE)}}
    return {'static_resources': {
        'listeners': [{'address': address(port), 'filter_chains': [{'filters': [
            {'name': 'http', 'typed_config': manager}]}]}],
        'clusters': [{'name': 'service', 'type': 'STATIC',
                      'typed_extension_protocol_options': {
                          'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': http2},
                      'load_assignment': {'cluster_name': 'service', 'endpoints': [
                          {'lb_endpoints': [endpoint]}]}}]}}


def ask(port, path, body=None):
    """One answer, as JSON."""
    headers = {'content-type': 'application/json'} if body else {}
    request = urllib.request.Request(f'http://127.0.0.1:{port}{path}', body, headers)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def until_ready(port):
    """Waits for a server to answer."""
    for _ in range(600):
        try:
            return ask(port, '/v1/devices')
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f'nothing answers at port {port}')


def cpu(pid):
    """Seconds of CPU that a process has used."""
    fields = Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def load(work, port, path, body, count):
    """Makes `count` requests, and returns how long each took, and all, in seconds."""
    log = work / 'requests'
    log.unlink(missing_ok=True)
    data = ['-d', body, '-H', 'content-type: application/json'] if body else []
    started = time.monotonic()
    ran = subprocess.run(['taskset', '-c', '1', 'h2load', '--h1', '-t', '1', '-c', CLIENTS, '-n', str(count),
                          '--log-file', log, *data, f'http://127.0.0.1:{port}{path}'],
                         check=True, capture_output=True, text=True)
    took = time.monotonic() - started
    if f' {count} 2xx' not in ran.stdout:
        raise SystemExit(ran.stdout)
    return sorted(int(line.split('\t')[2]) / 1e6 for line in log.open()), took


def measure(work, pid, port, path, body):
    """Requests a second, CPU of one, p50 and p99, in seconds."""
    few = 1000
    _, took = load(work, port, path, body, few)
    count = max(few, int(SECONDS * few / took))
    before = cpu(pid)
    times, took = load(work, port, path, body, count)
    return count / took, (cpu(pid) - before) / count, times[count // 2], times[count * 99 // 100]


def http(built, envoy):
    """Starts everything, puts load on it, and prints a table."""
    with tempfile.TemporaryDirectory() as folder:
        work, programs = Path(folder), {}
        bench, descriptors = f'{built}/servers', f'{folder}/fleet.bin'
        subprocess.run([bench, 'descriptors', descriptors], check=True)
        (work / 'envoy.json').write_text(json.dumps(envoy_config(descriptors, PORTS['Envoy'])))

        def start(name, core, *command):
            output = (work / f'{name}.log').open('w')
            programs[name] = subprocess.Popen(['taskset', '-c', core, *command], stdout=output, stderr=output)

        try:
            start('service', '1', bench, 'service', f'127.0.0.1:{SERVICE}')
            start('handler', '0', bench, 'handler', f'127.0.0.1:{PORTS["handler"]}')
            start('process', '0', bench, 'process', f'127.0.0.1:{PORTS["process"]}')
            start('proxy', '0', f'{built}/proxy', descriptors, f'http://127.0.0.1:{SERVICE}',
                  f'127.0.0.1:{PORTS["proxy"]}')
            start('Envoy', '0', envoy, '-c', f'{folder}/envoy.json', '--concurrency', '1', '-l', 'error',
                  '--disable-hot-restart')
            table(work, programs)
        finally:
            for program in programs.values():
                program.kill()
                program.wait()


def table(work, programs):
    """The same three cases for all servers, which must give the same answers."""
    lists = [until_ready(port) for port in PORTS.values()]
    (work / 'small').write_text(json.dumps(lists[0]['devices'][7], ensure_ascii=False))
    (work / 'list').write_text(json.dumps(lists[0], ensure_ascii=False, separators=(',', ':')))
    cases = {'small there and back': ('/v1/devices:echo', work / 'small'),
             'list as the answer': ('/v1/devices', None),
             'list as the request': ('/v1/devices:import', work / 'list')}
    print(f'{"":30}{"requests/s":>12}{"CPU":>12}{"p50":>12}{"p99":>12}')
    for case, (path, body) in cases.items():
        answers = [ask(port, path, body and body.read_bytes()) for port in PORTS.values()]
        if any(answer != answers[0] for answer in answers):
            raise SystemExit(f'{case}: the answers differ')
        found = {}
        for name, port in PORTS.items():
            found[name] = measure(work, programs[name].pid, port, path, body)
            rate, used, *times = found[name]
            times = ''.join(f'{1e3 * time:9.2f} ms' for time in times)
            print(f'{case:22}{name:8}{rate:12.0f}{1e6 * used:9.1f} µs{times}')
        rates, used = ({name: row[column] for name, row in found.items()} for column in (0, 1))
        print(f'{case:22}process : handler {rates["process"] / rates["handler"]:.2f}, '
              f'by CPU {used["handler"] / used["process"]:.2f}   '
              f'requests/s a core, proxy : Envoy {used["Envoy"] / used["proxy"]:.2f}   '
              f'p99, proxy : Envoy {found["proxy"][3] / found["Envoy"][3]:.2f}')


if __name__ == '__main__':
    {'json': ratios, 'http': http}[sys.argv[1]](*sys.argv[2:])
