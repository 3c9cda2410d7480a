"""What is said to an exec plugin, and what it answers: pure.

https://kubernetes.io/docs/reference/config-api/client-authentication.v1/
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ktnet.cluster.kubeconfig.model import Cluster

GROUP = "client.authentication.k8s.io"
VERSIONS = (f"{GROUP}/v1", f"{GROUP}/v1beta1")


@dataclass(frozen=True, slots=True)
class ExecCredential:
    """A plugin's answer: a token, or a certificate with its key, or both."""

    token: str = field(default="", repr=False)
    certificate: bytes = b""
    key: bytes = field(default=b"", repr=False)
    expires: datetime | None = None


def build_exec_info(
    version: str, *, interactive: bool, cluster: Cluster | None, authority: bytes = b""
) -> str:
    """$KUBERNETES_EXEC_INFO. `cluster` is told where the plugin shall know of it, `authority`
    then is what is trusted, in PEM."""
    spec: dict[str, Any] = {"interactive": interactive}
    if cluster is not None:
        told = {
            "server": cluster.server,
            "tls-server-name": cluster.tls_server_name,
            "insecure-skip-tls-verify": cluster.insecure_skip_tls_verify,
            "certificate-authority-data": base64.b64encode(authority).decode(),
            "proxy-url": cluster.proxy_url,
            "disable-compression": cluster.disable_compression,
            "config": cluster.plugin_config,
        }
        spec["cluster"] = {key: value for key, value in told.items() if value or key == "server"}
    return json.dumps({"kind": "ExecCredential", "apiVersion": version, "spec": spec})


def parse_exec_credential(output: bytes, version: str) -> ExecCredential:
    """What a plugin printed. Raises ValueError for everything that gives no credentials.

    No message quotes the output: there may be a secret in it.
    """
    try:
        answer = json.loads(output)
    except (ValueError, RecursionError) as error:
        raise ValueError("what it printed is no JSON") from error
    if not isinstance(answer, dict) or answer.get("kind") != "ExecCredential":
        raise ValueError("what it printed is no ExecCredential")
    if answer.get("apiVersion") != version:
        raise ValueError(f"it did not answer in {version}, which the kubeconfig asks for")
    status = answer.get("status")
    if not isinstance(status, dict):
        raise ValueError("its ExecCredential has no status")  # noqa: TRY004  as all that is wrong
    token, certificate, key, expires = (
        _text(status, name)
        for name in ("token", "clientCertificateData", "clientKeyData", "expirationTimestamp")
    )
    if not (token or certificate or key):
        raise ValueError("it gave neither a token nor a certificate")
    if bool(certificate) != bool(key):
        raise ValueError("it gave a certificate or its key, but not both")
    if not is_header_text(token):
        raise ValueError("its token is none that could be sent")
    return ExecCredential(
        token, certificate.encode(), key.encode(), _parse_time(expires) if expires else None
    )


def is_header_text(text: str) -> bool:
    """Whether it can stand in a header: nothing but visible ASCII and spaces."""
    return text.isascii() and text.isprintable()


def _text(status: dict[str, Any], name: str) -> str:
    value = status.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"its {name} is no text")  # noqa: TRY004
    value.encode()  # a lone surrogate, which JSON can have, is a ValueError
    return value


def _parse_time(text: str) -> datetime:
    """RFC 3339."""
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError("no time zone")  # noqa: TRY301  one message
        return moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError("its expirationTimestamp is no time of RFC 3339") from error
