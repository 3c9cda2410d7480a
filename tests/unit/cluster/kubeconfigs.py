"""Kubeconfig files, plugins and certificates for tests to read, run and show."""

from __future__ import annotations

import datetime
import json
import sys
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

V1 = "client.authentication.k8s.io/v1"
V1BETA1 = "client.authentication.k8s.io/v1beta1"
SERVER = "https://192.0.2.1:6443"


def build(user=None, cluster=None, *, name="one", namespace=None, **more):
    """A kubeconfig with one cluster, one user and one context, all called `name`."""
    context = {"cluster": name, "user": name, **({"namespace": namespace} if namespace else {})}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{"name": name, "cluster": cluster or {"server": SERVER}}],
        "users": [{"name": name, "user": user or {}}],
        "contexts": [{"name": name, "context": context}],
        **more,
    }


def write(path: Path, config) -> str:
    """The file, and its directory, written; its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(config if isinstance(config, str) else yaml.safe_dump(config))
    return str(path)


def write_plugin(path: Path, code: str) -> str:
    """A program of Python lines; its name."""
    path.write_text(f"#!{sys.executable}\nimport json, os, sys, time\n{code}\n")
    path.chmod(0o755)
    return str(path)


def write_answering(path: Path, status, version=V1) -> str:
    """A plugin that gives this status, and counts its runs in a file beside it."""
    answer = {"apiVersion": version, "kind": "ExecCredential", "status": status}
    return write_plugin(
        path,
        f"open({str(path) + '.runs'!r}, 'a').write('x')\nprint({json.dumps(json.dumps(answer))})",
    )


def count_runs(path: Path) -> int:
    runs = Path(str(path) + ".runs")
    return len(runs.read_text()) if runs.exists() else 0


def exec_user(command: str, version=V1, **more):
    return {"exec": {"apiVersion": version, "command": command, "interactiveMode": "Never", **more}}


class Authority:
    """A CA that signs clients' certificates."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("clients-ca")
        self.pem = _pem(_sign(self._name, self._key.public_key(), self._name, self._key, ca=True))

    def issue(self, name: str) -> tuple[str, str]:
        """A certificate for somebody of that name, and its key; PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _sign(_name(name), key.public_key(), self._name, self._key, ca=False)
        return _pem(certificate), key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode()


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _sign(subject, public_key, issuer, key, *, ca: bool) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
