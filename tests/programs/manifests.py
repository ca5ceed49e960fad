"""Whether k8s/ is what docs/deploy.md says: renders the overlays with
`kubectl kustomize`, validates every document against Kubernetes' own schemas,
and checks what a schema can't say. Ends with 0, or prints everything that is
wrong. MUSTER_BINARY, if set, is asked which environment variables it knows."""

import os
import pathlib
import re
import subprocess
import sys

import kubernetes_validate
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
OVERLAYS = ["dev", "production"]
# The oldest that has everything used here, and the newest that is known.
VERSIONS = ["1.30", kubernetes_validate.latest_version()]
# Kinds of others, whose schemas are not Kubernetes'.
FOREIGN = {"cert-manager.io", "gateway.networking.k8s.io"}

# Who calls whom. A service has no other way to another.
CALLS = {
    "gateway": {"identity", "tenancy", "device-registry", "key-management"},
    "identity": {"tenancy", "key-management"},
    "tenancy": {"identity", "key-management"},
    "key-management": {"identity", "tenancy"},
    "device-registry": {"identity", "tenancy", "key-management"},
    "init": {"identity", "tenancy"},
}
STORING = {"identity", "tenancy", "device-registry", "key-management"}
SERVING = STORING | {"gateway"}
PORTS = {service: 8081 for service in STORING} | {"gateway": 8080}
# What each workload may know, beyond a certificate of its own.
SECRETS = {service: {f"{service}-service-key", f"{service}-database"} for service in STORING} | {
    "gateway": {"gateway-service-key"},
    "migrate": {"migrate-database"},
    "init": {"operator-service-key", "administrator"},
    "postgres": {"postgres"},
}
SECRETS["key-management"] |= {"master-key"}
# What is made apart from the overlays: by k8s/secrets.sh, or by hand.
CONFIG_MAPS_APART = {"service-keys", "database-ca"}

problems = []


def check(holds, what):
    if not holds:
        problems.append(what)
    return holds


def render(overlay):
    folder = ROOT / "k8s" / "overlays" / overlay
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"kubectl kustomize {folder}: {done.stderr}")
    check(not done.stderr, f"{overlay}: kustomize warns: {done.stderr.strip()}")
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def validate(where, document):
    if document["apiVersion"].split("/")[0] in FOREIGN:
        return
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            problems.append(f"{where}: Kubernetes {version}: {error.message}")
        except kubernetes_validate.SchemaNotFoundError:
            problems.append(f"{where}: Kubernetes {version} has no such kind")


def component(labels):
    return labels.get("app.kubernetes.io/component")


class Overlay:
    """One overlay's documents, by kind and name."""

    def __init__(self, name):
        self.name = name
        self.documents = render(name)
        self.kinds = {}
        for document in self.documents:
            where = f"{name}: {document['kind']} {document['metadata']['name']}"
            validate(where, document)
            self.kinds.setdefault(document["kind"], {})[document["metadata"]["name"]] = document

    def of(self, kind):
        return self.kinds.get(kind, {})

    def workloads(self):
        for kind in ("Deployment", "StatefulSet", "Job"):
            for name, document in self.of(kind).items():
                yield kind, name, document["spec"]["template"]

    def labels(self):
        return {name: template["metadata"]["labels"] for _, name, template in self.workloads()}


def containers_are_confined(overlay):
    for kind, name, template in overlay.workloads():
        where, spec = f"{overlay.name}: {kind} {name}", template["spec"]
        pod = spec.get("securityContext", {})
        check(pod.get("runAsNonRoot") is True and pod.get("runAsUser", 0) > 0, f"{where}: runs as root")
        check(pod.get("seccompProfile") == {"type": "RuntimeDefault"}, f"{where}: seccompProfile")
        check(spec.get("automountServiceAccountToken") is False, f"{where}: has a token of Kubernetes")
        check(spec.get("enableServiceLinks") is False, f"{where}: addresses of Services are set as variables")
        check(not any(spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")), f"{where}: is not confined")
        account = overlay.of("ServiceAccount").get(spec.get("serviceAccountName"))
        check(account and account.get("automountServiceAccountToken") is False, f"{where}: ServiceAccount")
        for volume in spec.get("volumes", []):
            check("hostPath" not in volume, f"{where}: mounts a path of the node")
            mode = volume.get("secret", {}).get("defaultMode")
            if kind != "StatefulSet" and "secret" in volume:
                check(mode == 0o440, f"{where}: everybody in the container may read {volume['name']}")
        for container in spec["containers"] + spec.get("initContainers", []):
            security, resources = container.get("securityContext", {}), container.get("resources", {})
            check(security.get("readOnlyRootFilesystem") is True, f"{where}: may write its own file system")
            check(security.get("allowPrivilegeEscalation") is False, f"{where}: may gain privileges")
            check(security.get("capabilities") == {"drop": ["ALL"]}, f"{where}: has capabilities")
            check(set(resources.get("requests", {})) == {"cpu", "memory"}, f"{where}: requests")
            check("memory" in resources.get("limits", {}), f"{where}: limits")
            tag = container["image"].rpartition(":")[2]
            check(":" in container["image"] and tag != "latest", f"{where}: image {container['image']}")
            if kind == "Job":
                continue
            ports = {port["name"]: port["containerPort"] for port in container["ports"]}
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                ask = container.get(probe, {})
                check("httpGet" in ask or "grpc" in ask or "exec" in ask, f"{where}: has no {probe}")
                port = ask.get("httpGet", ask.get("grpc", {})).get("port", ports.get("probe"))
                check(port in (8090, "probe", None), f"{where}: {probe} asks port {port}")


def mounts_are_whole(overlay):
    for kind, name, template in overlay.workloads():
        where, spec = f"{overlay.name}: {kind} {name}", template["spec"]
        claims = overlay.of(kind)[name]["spec"].get("volumeClaimTemplates", [])
        volumes = {volume["name"] for volume in spec.get("volumes", []) + [claim["metadata"] for claim in claims]}
        for container in spec["containers"]:
            mounts = {mount["name"]: mount["mountPath"] for mount in container.get("volumeMounts", [])}
            check(set(mounts) == volumes, f"{where}: mounts {sorted(mounts)} of {sorted(volumes)}")
            for variable in container.get("env", []):
                path = variable.get("value", "")
                if path.startswith("/etc/muster"):
                    under = any(path.startswith(folder + "/") for folder in mounts.values())
                    check(under, f"{where}: {variable['name']}={path} is on no volume")


def deployments_are_kept_up(overlay):
    check(set(overlay.of("Deployment")) == SERVING, f"{overlay.name}: deploys {sorted(overlay.of('Deployment'))}")
    for name, deployment in overlay.of("Deployment").items():
        where, spec = f"{overlay.name}: Deployment {name}", deployment["spec"]
        pod, labels = spec["template"]["spec"], spec["template"]["metadata"]["labels"]
        check(component(labels) == name, f"{where}: component {component(labels)}")
        check(spec["selector"]["matchLabels"].items() <= labels.items(), f"{where}: selects other pods")
        check("replicas" not in spec, f"{where}: replicas are the autoscaler's")
        check(spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0, f"{where}: a roll-out takes replicas away")
        pause = pod["containers"][0].get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        check(pause > 0, f"{where}: stops before it is out of everybody's sight")
        check(pod["terminationGracePeriodSeconds"] > 20 + pause, f"{where}: is killed while it drains")
        for constraint in pod["topologySpreadConstraints"]:
            chosen = constraint["labelSelector"]["matchLabels"].items() <= labels.items()
            check(chosen and set(constraint["matchLabelKeys"]) >= {"app.kubernetes.io/component"}, f"{where}: spread")
        keys = {c["topologyKey"] for c in pod["topologySpreadConstraints"]}
        check(keys == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}, f"{where}: spread over {keys}")

        budget = overlay.of("PodDisruptionBudget").get(name, {"spec": {}})["spec"]
        check(budget.get("maxUnavailable") == 1, f"{where}: PodDisruptionBudget")
        check(budget.get("selector", {}).get("matchLabels") == spec["selector"]["matchLabels"], f"{where}: its budget")
        scaler = overlay.of("HorizontalPodAutoscaler").get(name)
        if check(scaler, f"{where}: HorizontalPodAutoscaler"):
            target = scaler["spec"]["scaleTargetRef"]
            check((target["kind"], target["name"]) == ("Deployment", name), f"{where}: its autoscaler")
            least = {"dev": 1, "production": 3}[overlay.name]
            check(scaler["spec"]["minReplicas"] == least <= scaler["spec"]["maxReplicas"], f"{where}: replicas")
        service = overlay.of("Service").get(name)
        if check(service, f"{where}: Service"):
            headless = service["spec"].get("clusterIP") == "None"
            check(headless == (name in STORING), f"{where}: its name stands for one address or for all")
            check(service["spec"]["selector"] == spec["selector"]["matchLabels"], f"{where}: its Service selects others")
            ports = {port["name"]: port["containerPort"] for port in pod["containers"][0]["ports"]}
            reached = [(port["port"], ports.get(port["targetPort"])) for port in service["spec"]["ports"]]
            check(reached == [(PORTS[name], PORTS[name])], f"{where}: its Service's ports {reached}")


def selects(selector, labels):
    """As the API machinery does it, of what is used here."""
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    for expression in selector.get("matchExpressions") or []:
        if expression["operator"] != "In":
            raise SystemExit(f"this test does not know the operator {expression['operator']}")
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    return True


def allows(policies, direction, mine, other, port):
    """Whether the pod `mine` may have traffic with `other` (None: from outside)."""
    rules, confined = [], False
    for policy in policies:
        if direction in policy["spec"]["policyTypes"] and selects(policy["spec"]["podSelector"], mine):
            confined = True
            rules += policy["spec"].get(direction.lower(), [])
    for rule in rules:
        peers = rule.get("from" if direction == "Ingress" else "to")
        if "ports" in rule and port not in [p["port"] for p in rule["ports"]]:
            continue
        if peers is None:
            return True
        for peer in peers:
            # A namespaceSelector means pods of other namespaces here: DNS.
            if other is not None and "podSelector" in peer and "namespaceSelector" not in peer:
                if selects(peer["podSelector"], other):
                    return True
            if other is None and ("ipBlock" in peer or "namespaceSelector" in peer):
                return True
    return not confined


def network_is_who_calls_whom(overlay):
    policies, labels = list(overlay.of("NetworkPolicy").values()), overlay.labels()
    check(SERVING <= set(overlay.of("NetworkPolicy")), f"{overlay.name}: a service has no NetworkPolicy")
    stranger = {"app.kubernetes.io/name": "stranger"}
    for port in sorted({8080, 8081, 8090, 5432, 53, 443}):
        for callee, to in labels.items():
            for caller, of in labels.items():
                wanted = callee in CALLS.get(caller, ()) and port == 8081
                wanted |= callee == "postgres" and caller in STORING | {"migrate"} and port == 5432
                # Both sides say the same, so that either alone keeps to it.
                leaves = allows(policies, "Egress", of, to, port)
                check(leaves == wanted, f"{overlay.name}: {caller} may call {callee}:{port}: {leaves}")
                enters = allows(policies, "Ingress", to, of, port)
                wanted |= callee == "gateway" and port == 8080
                check(enters == wanted, f"{overlay.name}: {callee}:{port} takes calls of {caller}: {enters}")
            for who, source in (("the outside", None), ("a pod that is not of Muster", stranger)):
                enters = allows(policies, "Ingress", to, source, port)
                wanted = callee == "gateway" and port == 8080
                # From a namespace that is labelled for it, figures are asked for.
                wanted |= callee in SERVING and port == 8090 and source is None
                check(enters == wanted, f"{overlay.name}: {callee}:{port} from {who}: {enters}")
    for caller, of in labels.items():
        for port in (443, 8081, 53, 5432):
            leaves = allows(policies, "Egress", of, None, port)
            stores = caller in STORING | {"migrate"} and "postgres" not in labels
            # Webhooks.
            calls_out = port == 443 and caller == "device-registry"
            wanted = port == 53 or (port == 5432 and stores) or calls_out
            check(leaves == wanted, f"{overlay.name}: {caller} to the world, {port}")


def variables(overlay, container):
    """The container's environment: name to value, None where a Secret has it."""
    found = {}
    for source in container.get("envFrom", []):
        found |= overlay.of("ConfigMap")[source["configMapRef"]["name"]]["data"]
    for variable in container.get("env", []):
        check(("value" in variable) != ("valueFrom" in variable), f"{overlay.name}: {variable}")
        found[variable["name"]] = variable.get("value")
    return found


def secrets_stay_apart(overlay):
    check(not overlay.of("Secret"), f"{overlay.name}: holds Secrets {sorted(overlay.of('Secret'))}")
    for kind, name, template in overlay.workloads():
        where, spec = f"{overlay.name}: {kind} {name}", template["spec"]
        known, maps = set(), set()
        for volume in spec.get("volumes", []):
            known |= {volume["secret"]["secretName"]} if "secret" in volume else set()
            maps |= {volume["configMap"]["name"]} if "configMap" in volume else set()
        for container in spec["containers"]:
            for variable in container.get("env", []):
                reference = variable.get("valueFrom", {}).get("secretKeyRef")
                known |= {reference["name"]} if reference else set()
                secret = re.search(r"PASSWORD|DATABASE_URL|MASTER_KEY$", variable["name"])
                check(bool(reference) or not secret, f"{where}: {variable['name']} is written out")
        missing = maps - set(overlay.of("ConfigMap")) - CONFIG_MAPS_APART
        check(not missing, f"{where}: no ConfigMap {sorted(missing)}")
        known.discard(f"{name}-tls")
        check(known == SECRETS[name], f"{where}: knows {sorted(known)}")


def peers_are_who_it_calls(overlay):
    for kind, name, template in overlay.workloads():
        if kind == "StatefulSet":
            continue
        where, environment = f"{overlay.name}: {kind} {name}", variables(overlay, template["spec"]["containers"][0])
        peers = {s for s in SERVING if "MUSTER_" + s.upper().replace("-", "_") in environment}
        check(peers == CALLS.get(name, set()), f"{where}: knows the addresses of {sorted(peers)}")
        for peer in peers:
            address = environment["MUSTER_" + peer.upper().replace("-", "_")]
            check(address == f"{peer}:8081", f"{where}: {peer} at {address}")
        if kind == "Deployment":
            check(environment.get("MUSTER_LISTEN") == f"0.0.0.0:{PORTS[name]}", f"{where}: MUSTER_LISTEN")
            check(environment.get("MUSTER_PROBE_LISTEN") == "0.0.0.0:8090", f"{where}: MUSTER_PROBE_LISTEN")
        binary = os.environ.get("MUSTER_BINARY")
        if binary:
            command = template["spec"]["containers"][0]["args"] + ["--help"]
            help = subprocess.run([binary, *command], capture_output=True, text=True)
            check(help.returncode == 0, f"{where}: muster {' '.join(command)}: {help.stderr.strip()}")
            # A secret that is no flag is named in the help's text.
            names = set(re.findall(r"\bMUSTER_[A-Z_]+\b", help.stdout))
            unknown = set(environment) - names
            check(not unknown, f"{where}: the program does not know {sorted(unknown)}")


def mutual_tls_is_whole(overlay):
    for kind, name, template in overlay.workloads():
        where, spec = f"{overlay.name}: {kind} {name}", template["spec"]
        if name not in CALLS:
            continue
        environment = variables(overlay, spec["containers"][0])
        held = {v["name"]: v.get("secret", {}).get("secretName") for v in spec["volumes"]}
        check(held.get("tls") == f"{name}-tls", f"{where}: certificate {held.get('tls')}")
        wanted = {"MUSTER_TLS_CERT", "MUSTER_TLS_KEY", "MUSTER_PEER_CA"}
        wanted |= {"MUSTER_TLS_CLIENT_CA"} if name in STORING else set()
        check({n for n in environment if "TLS" in n or n.endswith("_CA")} == wanted, f"{where}: TLS")
        certificate = overlay.of("Certificate").get(name, {"spec": {}})["spec"]
        check(certificate.get("secretName") == f"{name}-tls", f"{where}: Certificate")
        check(certificate.get("dnsNames") == [name], f"{where}: its certificate's names")
        check("client auth" in certificate.get("usages", []), f"{where}: its certificate is not for calling")


def main():
    for name in OVERLAYS:
        overlay = Overlay(name)
        containers_are_confined(overlay)
        mounts_are_whole(overlay)
        deployments_are_kept_up(overlay)
        network_is_who_calls_whom(overlay)
        secrets_stay_apart(overlay)
        peers_are_who_it_calls(overlay)
        if name == "production":
            mutual_tls_is_whole(overlay)
        print(f"{name}: {len(overlay.documents)} documents")
    if problems:
        sys.exit("\n".join(problems))


main()
