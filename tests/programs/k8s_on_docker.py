"""Runs an overlay of k8s/ as a kubelet would, but by Docker: its containers
with their arguments, variables, files, users and limits, from what `kubectl
kustomize` renders and k8s/secrets.sh makes. Then asks the gateway, takes
replicas away while it asks, and stops everything.

Not played: scheduling, autoscaling and NetworkPolicies (manifests.py reads
those), and cert-manager, whose certificates openssl makes.

MUSTER_BINARY is the program, which k8s/image.sh packs; MUSTER_TEST_POSTGRES_IMAGE
is an image like the official one; OVERLAY is dev or production. Needs root, since
a kubelet gives files to a group, and docker, kubectl, psql and openssl. Ends with
0, or says what is wrong."""

import base64
import itertools
import json
import os
import pathlib
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid

import grpc
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
OVERLAY = os.environ.get("OVERLAY", "dev")
RUN = "muster-test-" + uuid.uuid4().hex[:8]
IMAGE = f"{RUN}:image"
SUPERUSER = uuid.uuid4().hex
# Each service, and a read that it answers.
SERVICES = {
    "identity": "/v1/users",
    "tenancy": "/v1/members",
    "device-registry": "/v1/devices",
    "key-management": "/v1/apiKeys",
}
REPLICAS = 2


def run(*command, **more):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **more)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: {done.stderr or done.stdout}")
    return done.stdout.strip()


def wait(what, ask, patience=60):
    """Until `ask` says None; else it says what is wrong."""
    end, wrong = time.monotonic() + patience, "nothing"
    while time.monotonic() < end:
        wrong = ask()
        if wrong is None:
            return
        time.sleep(0.2)
    logs = [f"{name}:\n{run_logs(name)}" for name in run("docker", "ps", "-aq", "-f", f"label=run={RUN}").split()]
    sys.exit("\n".join([*logs, f"{what}: {wrong}"]))


def run_logs(container):
    done = subprocess.run(["docker", "logs", "--tail", "15", container], capture_output=True, text=True)
    return done.stdout + done.stderr


class Cluster:
    """What kubectl would have been given, and where the kubelet keeps files."""

    def __init__(self, folder):
        self.folder = folder
        database = "postgres:5432/muster?sslmode=disable"
        environment = {**os.environ, "MUSTER": os.environ["MUSTER_BINARY"]}
        secrets = run(ROOT / "k8s/secrets.sh", folder / "made", database, env=environment)
        rendered = run("kubectl", "kustomize", ROOT / "k8s/overlays" / OVERLAY)
        self.documents = {}
        for document in list(yaml.safe_load_all(secrets)) + list(yaml.safe_load_all(rendered)):
            self.documents[document["kind"], document["metadata"]["name"]] = document
        self.documents.setdefault(("ConfigMap", "database-ca"), {"data": {"ca.crt": "not used here"}})
        self.certify()

    def files(self, kind, name):
        document = self.documents[kind, name]
        if kind == "Secret":
            return {key: base64.b64decode(value) for key, value in document["data"].items()}
        return {key: value.encode() for key, value in document["data"].items()}

    def certify(self):
        """What cert-manager does with the Certificates: an authority, and leaves."""
        certificates = [d["spec"] for (kind, _), d in self.documents.items() if kind == "Certificate"]
        at = self.folder / "certificates"
        at.mkdir()
        new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days", "1"]
        for spec in sorted(certificates, key=lambda spec: not spec.get("isCA")):
            name = spec["secretName"]
            out = ["-keyout", at / f"{name}.key", "-out", at / f"{name}.crt"]
            if spec.get("isCA"):
                run(*new, *out, "-subj", f"/CN={spec['commonName']}")
                authority = name
            else:
                words = {"server auth": "serverAuth", "client auth": "clientAuth"}
                usage = ",".join(words[usage] for usage in spec["usages"] if usage in words)
                names = ",".join(f"DNS:{name}" for name in spec["dnsNames"])
                run(*new, *out, "-CA", at / f"{authority}.crt", "-CAkey", at / f"{authority}.key", "-subj", "/",
                    "-addext", f"subjectAltName=critical,{names}", "-addext", f"extendedKeyUsage={usage}",
                    "-addext", "basicConstraints=critical,CA:FALSE")
            read = lambda path: base64.b64encode(path.read_bytes()).decode()
            self.documents["Secret", name] = {"data": {
                "tls.crt": read(at / f"{name}.crt"), "tls.key": read(at / f"{name}.key"),
                "ca.crt": read(at / f"{authority}.crt"),
            }}
        self.authority = at / f"{authority}.crt" if certificates else None

    def options(self, kind, name):
        """The pod of a workload, in words of `docker run`, and its arguments."""
        spec = self.documents[kind, name]["spec"]["template"]["spec"]
        [container] = spec["containers"]
        pod, security = spec["securityContext"], container["securityContext"]
        said = ["--user", f"{pod['runAsUser']}:{pod['runAsGroup']}", "--group-add", pod["fsGroup"]]
        said += ["--read-only"] * security["readOnlyRootFilesystem"]
        said += ["--security-opt", "no-new-privileges"] * (not security["allowPrivilegeEscalation"])
        said += [f"--cap-drop={capability}" for capability in security["capabilities"]["drop"]]
        said += ["--memory", container["resources"]["limits"]["memory"].lower().removesuffix("i")]
        environment = {}
        for source in container.get("envFrom", []):
            environment |= self.documents["ConfigMap", source["configMapRef"]["name"]]["data"]
        for variable in container["env"]:
            value = variable.get("value")
            if value is None:
                reference = variable["valueFrom"]["secretKeyRef"]
                value = self.files("Secret", reference["name"])[reference["key"]].decode()
            environment[variable["name"]] = value
        file = self.folder / f"{name}.env"
        file.write_text("".join(f"{key}={value}\n" for key, value in environment.items()))
        said += ["--env-file", file]
        mounts = {mount["name"]: mount["mountPath"] for mount in container.get("volumeMounts", [])}
        for volume in spec.get("volumes", []):
            kept = self.folder / f"{name}-{volume['name']}"
            said += ["--volume", f"{kept}:{mounts[volume['name']]}:ro"]
            if kept.exists():
                # Another replica may be reading it.
                continue
            kept.mkdir(mode=0o755)
            secret = volume.get("secret")
            source = ("Secret", secret["secretName"]) if secret else ("ConfigMap", volume["configMap"]["name"])
            mode = secret["defaultMode"] if secret else 0o644
            for key, content in self.files(*source).items():
                (kept / key).write_bytes(content)
                (kept / key).chmod(mode)
                os.chown(kept / key, 0, pod["fsGroup"])
        return said, container

    def start(self, name):
        said, container = self.options("Deployment", name)
        for port in container["ports"]:
            said += ["--publish", f"127.0.0.1::{port['containerPort']}"]
        return docker("--detach", "--network-alias", name, *said, IMAGE, *container["args"])

    def job(self, name):
        """Again until it succeeds, as its restartPolicy says."""
        said, container = self.options("Job", name)
        command = ["docker", "run", "--rm", "--network", RUN, "--label", f"run={RUN}"]
        command += [str(part) for part in [*said, IMAGE, *container["args"]]]

        def attempt():
            done = subprocess.run(command, capture_output=True, text=True)
            print(f"{name}: {done.stdout.strip()} {done.stderr.strip()}")
            return None if done.returncode == 0 else f"ended with {done.returncode}"

        wait(f"Job {name}", attempt, 120)


def docker(*options):
    return run("docker", "run", "--network", RUN, "--label", f"run={RUN}", *options)


def published(container, port):
    done = subprocess.run(["docker", "port", container, str(port)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{run_logs(container)}\n{done.stderr}")
    return done.stdout.splitlines()[0]


def answer(url, authority=None, credential=None):
    """Status and text of a GET; 0 if there was none."""
    request = urllib.request.Request(url, headers={"Authorization": f"Basic {credential}"} if credential else {})
    context = None
    if authority:
        # The certificate is for the name `gateway`, and the port is published here.
        context = ssl.create_default_context(cafile=authority)
        context.check_hostname = False
    try:
        with urllib.request.urlopen(request, timeout=30, context=context) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except (OSError, ssl.SSLError) as error:
        return 0, str(error)


def serving(address):
    """The kubelet's gRPC probe: grpc.health.v1.Health/Check of the whole server."""
    with grpc.insecure_channel(address) as channel:
        try:
            reply = channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=2)
        except grpc.RpcError as error:
            return f"{error.code()}"
    return None if reply == b"\x08\x01" else f"status {reply!r}"


def unready(address):
    """What /readyz says is missing."""
    status, text = answer(f"http://{address}/readyz")
    return None if status == 200 else f"{status} {text}"


def main():
    # Whatever way this ends, the containers go with it.
    script = """cat >/dev/null
        docker ps -aq -f label=run=$1 | xargs -r docker rm -fv
        docker network rm $1
        docker image rm $2"""
    leash = subprocess.Popen(
        ["sh", "-c", script, "sh", RUN, IMAGE],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)
    with tempfile.TemporaryDirectory() as folder:
        try:
            play(Cluster(pathlib.Path(folder)))
        finally:
            leash.stdin.close()
            leash.wait()


def play(cluster):
    run(ROOT / "k8s/image.sh", IMAGE, os.environ["MUSTER_BINARY"])
    run("docker", "network", "create", RUN)
    pods = {name: [cluster.start(name) for _ in range(REPLICAS)] for name in ["gateway", *SERVICES]}
    print(f"{OVERLAY}: {REPLICAS} replicas of each run, and nobody is ready: there is no database")
    for name, [pod, *_] in pods.items():
        probe = published(pod, 8090)
        wait(f"{name} is alive", lambda: None if answer(f"http://{probe}/healthz")[0] == 200 else run_logs(pod))
    probe = published(pods["identity"][0], 8090)
    wait("identity is not ready", lambda: None if answer(f"http://{probe}/readyz")[0] == 503 else "it is")

    database = docker("--detach", "--network-alias", "postgres", "--env", f"POSTGRES_PASSWORD={SUPERUSER}",
                      "--publish", "127.0.0.1::5432", os.environ.get("MUSTER_TEST_POSTGRES_IMAGE", "postgres:17"))
    address = f"postgres://postgres:{SUPERUSER}@{published(database, 5432)}/postgres"
    ask = ["psql", address, "-c", "SELECT 1"]
    wait("PostgreSQL", lambda: subprocess.run(ask, capture_output=True, text=True).stderr or None)
    run("psql", address, "--set", "ON_ERROR_STOP=1", "--file", cluster.folder / "made/logins.sql")
    cluster.job("migrate")

    for name in SERVICES:
        for pod in pods[name]:
            probe = published(pod, 8090)
            wait(f"{name} is ready", lambda: serving(probe) and unready(probe))
    for pod in pods["gateway"]:
        wait("gateway is ready", lambda: unready(published(pod, 8090)))
    cluster.job("init")
    cluster.job("init")

    scheme = "https" if cluster.authority else "http"
    url = f"{scheme}://{published(pods['gateway'][0], 8080)}"
    administrator = cluster.files("Secret", "administrator")
    credential = base64.b64encode(administrator["email"] + b":" + administrator["password"]).decode()
    status, text = answer(f"{url}/v1/me", cluster.authority, credential)
    if status != 200 or administrator["email"].decode() not in text:
        sys.exit(f"/v1/me: {status} {text}")
    print(f"the administrator is known: {json.dumps(json.loads(text))[:120]}…")

    if cluster.authority:
        refuse_strangers(cluster, pods)
    for name, path in SERVICES.items():
        replaced_while_asked(cluster, pods, name, url + path, credential)
    for name, here in pods.items():
        for pod in here:
            stopped(name, pod)


def refuse_strangers(cluster, pods):
    """A service takes no connection without a certificate of the authority's."""
    for name in SERVICES:
        host, port = published(pods[name][0], 8081).split(":")
        context = ssl.create_default_context(cafile=cluster.authority)
        try:
            plain = socket.create_connection((host, int(port)), 5)
            with plain, context.wrap_socket(plain, server_hostname=name) as secure:
                secure.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
                if secure.recv(1):
                    sys.exit(f"{name} answers whoever has no certificate")
        except ssl.SSLError:
            pass
    print("who has no certificate is refused")


def replaced_while_asked(cluster, pods, name, url, credential):
    """A roll-out of one replica: every read is answered meanwhile."""
    fresh, old = cluster.start(name), pods[name].pop(0)
    wait(f"another {name} is ready", lambda: serving(published(fresh, 8090)))
    pods[name].append(fresh)
    stopping, asked = subprocess.Popen(["docker", "stop", "--time", "30", old], stdout=subprocess.DEVNULL), 0
    while stopping.poll() is None or asked < 20:
        status, text = answer(url, cluster.authority, credential)
        asked += 1
        if status != 200:
            said = "\n".join(faults(pod) for pod in [old, *itertools.chain(*pods.values())])
            sys.exit(f"while {name} was replaced: {status} {text}\n{said}")
    code = run("docker", "inspect", "--format", "{{.State.ExitCode}}", old)
    if code != "0":
        sys.exit(f"{name} ended with {code}: {run_logs(old)}")
    print(f"a replica of {name} was replaced, and {asked} reads were answered meanwhile")


def faults(pod):
    """What a container logged as wrong."""
    done = subprocess.run(["docker", "logs", pod], capture_output=True, text=True)
    lines = (done.stdout + done.stderr).splitlines()
    return "\n".join(line for line in lines if "WARN" in line or "ERROR" in line)


def stopped(name, pod):
    run("docker", "stop", "--time", "30", pod)
    code = run("docker", "inspect", "--format", "{{.State.ExitCode}}", pod)
    if code != "0":
        sys.exit(f"{name} ended with {code}: {run_logs(pod)}")


main()
