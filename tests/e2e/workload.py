"""What the journeys lead to, made by the official client: a web server of two pods."""

from __future__ import annotations

import socket
import time
from typing import Any

from kubernetes import client, config

PORT = 8080
LIMIT_S = 120.0
PAGE = "this is the cluster"

_SERVE = """
import http.server, sys
class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = PAGE.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *words):
        pass
server = http.server.ThreadingHTTPServer((HOST, PORT), Page)
print("listening", flush=True)
server.serve_forever()
"""


def build_server(page: str, host: str, port: int) -> str:
    """A program that answers each request with that page; "" is any address."""
    return f"PAGE, HOST, PORT = {page!r}, {host!r}, {port}{_SERVE}"


def create_namespace(kubeconfig: str, name: str, image: str) -> None:
    """Returns when the pods are ready."""
    config.load_kube_config(kubeconfig)
    core, apps = client.CoreV1Api(), client.AppsV1Api()
    core.create_namespace({"metadata": {"name": name}})
    apps.create_namespaced_deployment(name, build_deployment(image))
    core.create_namespaced_service(name, build_service())
    give_up_s = time.monotonic() + LIMIT_S
    while True:
        status = apps.read_namespaced_deployment("web", name).status
        if status.ready_replicas == 2:
            return
        assert time.monotonic() < give_up_s, status
        time.sleep(0.2)


def build_deployment(image: str) -> dict[str, Any]:
    container = {
        "name": "web",
        "image": image,
        "command": ["python", "-c", build_server(PAGE, "", PORT)],
        "ports": [{"containerPort": PORT, "name": "http"}],
        "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1},
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65534,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    return {
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]},
            },
        },
    }


def build_service() -> dict[str, Any]:
    return {
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]},
    }


def delete_namespace(kubeconfig: str, name: str) -> None:
    config.load_kube_config(kubeconfig)
    client.CoreV1Api().delete_namespace(name)


def read_addresses(kubeconfig: str, namespace: str) -> dict[str, Any]:
    """The Service's address and the pods'."""
    config.load_kube_config(kubeconfig)
    core = client.CoreV1Api()
    pods = core.list_namespaced_pod(namespace, label_selector="app=web").items
    return {
        "service": core.read_namespaced_service("web", namespace).spec.cluster_ip,
        "pods": [pod.status.pod_ip for pod in pods],
    }


def read_workload(kubeconfig: str, namespace: str) -> dict[str, Any]:
    """What an exchange changes of a Deployment and its Service, and has to put back."""
    config.load_kube_config(kubeconfig)
    deployment = client.AppsV1Api().read_namespaced_deployment("web", namespace)
    service = client.CoreV1Api().read_namespaced_service("web", namespace)
    ours = (deployment.metadata.annotations or {}) | (service.metadata.annotations or {})
    return {
        "replicas": deployment.spec.replicas,
        "ready": deployment.status.ready_replicas or 0,
        "selector": service.spec.selector,
        "marks": [key for key in ours if key.startswith("ktnet.")],
    }


def wait_until_gone(kubeconfig: str, namespace: str, service: str) -> None:
    """The garbage collector takes it a moment after its owner."""
    config.load_kube_config(kubeconfig)
    core, give_up_s = client.CoreV1Api(), time.monotonic() + LIMIT_S
    while service in [each.metadata.name for each in core.list_namespaced_service(namespace).items]:
        assert time.monotonic() < give_up_s, f"Service {service} is still there"
        time.sleep(0.2)


def list_remains(kubeconfig: str, namespace: str) -> list[str]:
    """Jobs and Leases of ours that are there."""
    config.load_kube_config(kubeconfig)
    mine = "app.kubernetes.io/managed-by=ktnet"
    jobs = client.BatchV1Api().list_namespaced_job(namespace, label_selector=mine).items
    leases = client.CoordinationV1Api().list_namespaced_lease(namespace, label_selector=mine).items
    return [each.metadata.name for each in (*jobs, *leases)]


def find_address(name: str) -> str:
    """As any program asks; empty where nobody knows the name."""
    try:
        return str(socket.getaddrinfo(name, 80, socket.AF_INET)[0][4][0])
    except socket.gaierror:
        return ""


def is_refused(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), 10).close()
    except ConnectionRefusedError:
        return True
    return False
