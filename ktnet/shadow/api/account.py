"""The pod's account: where the API server is, what proves that it is it, and who we are.

https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/#directly-accessing-the-rest-api
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ktnet.shadow.api.answer import ApiUnreachable
from ktnet.wire.shadow import ACCOUNT

MOST_FILE_BYTES = 1024 * 1024
"""A ConfigMap, and so a bundle of authorities, has at most so much."""


@dataclass(frozen=True, slots=True)
class Account:
    """Nothing in it is secret: the token stays in its file."""

    host: str
    """Name or address of the API server."""
    port: int
    directory: Path
    """With `ca.crt` and `token` in it."""

    def read_token(self) -> str:
        """The token of this moment: the kubelet renews it while we run. Raises ApiUnreachable."""
        token = _read(self.directory / "token").decode("ascii", "replace").strip()
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise ApiUnreachable("the account's token is no token")
        return token

    def build_trust(self) -> ssl.SSLContext:
        """From the authorities of this moment: they are renewed as well. Raises ApiUnreachable."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # Python 3.13 demands extensions that the authorities of older clusters lack.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        pem = _read(self.directory / "ca.crt").decode("ascii", "replace")
        try:
            context.load_verify_locations(cadata=pem)
        except (ssl.SSLError, ValueError) as error:
            raise ApiUnreachable(f"the cluster's authority can't be used: {error}") from error
        return context


def find_account(environment: Mapping[str, str], directory: Path = Path(ACCOUNT)) -> Account:
    """By the variables that every container has. Raises ApiUnreachable where it has not."""
    host = environment.get("KUBERNETES_SERVICE_HOST", "")
    port = environment.get("KUBERNETES_SERVICE_PORT", "443")
    if not host or not (port.isascii() and port.isdigit() and 0 < int(port) <= 0xFFFF):
        raise ApiUnreachable("this is no container of a cluster: KUBERNETES_SERVICE_HOST and _PORT")
    return Account(host, int(port), directory)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MOST_FILE_BYTES)
    except OSError as error:
        raise ApiUnreachable(f"{path.name} of the account: {error.strerror}") from error
