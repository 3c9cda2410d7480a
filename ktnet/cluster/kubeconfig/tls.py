"""Whom we trust, and the certificate that we show: an SSLContext, and keys that stay in memory."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ktnet.cluster.kubeconfig.model import Cluster
from ktnet.errors import UsageError


class TrustContext(ssl.SSLContext):
    """A client's context that may ask for, and check, another name than the one in the URL.

    `tls-server-name` has to hold whatever dials: directly, through an HTTP proxy or SOCKS.
    """

    server_name: str = ""

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """As SSLContext's own, with our name."""
        if self.server_name:
            kwargs["server_hostname"] = self.server_name
        return super().wrap_bio(*args, **kwargs)


def build_trust(cluster: Cluster) -> TrustContext:
    """What proves that a server is this cluster's.

    Raises UsageError where its certificate authority can't be read or is none.
    """
    context = TrustContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Python 3.13 demands extensions of a CA certificate that kubectl doesn't and that the CAs of
    # older clusters lack.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.server_name = cluster.tls_server_name
    if cluster.insecure_skip_tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    authority = cluster.certificate_authority_data
    if not authority and cluster.certificate_authority:
        authority = read_file(cluster.certificate_authority)
    try:
        if authority:
            context.load_verify_locations(cadata=authority.decode("ascii"))
        else:
            context.load_default_certs()
    except (ssl.SSLError, ValueError) as error:  # UnicodeDecodeError is a ValueError
        raise UsageError(
            f"can't use the certificates for {cluster.server}: {error}",
            hint="certificate-authority(-data) has to be a CA's certificate in PEM",
        ) from error
    return context


def show_certificate(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Have new connections show this certificate; both in PEM. Raises ValueError.

    OpenSSL takes names of files only. What it gets is a file that has no name but its
    descriptor's and no place but this process's memory (memfd_create(2)).
    """
    if not hasattr(os, "memfd_create"):
        raise ValueError("this system has no place for a client's key but a file: use a token")
    try:
        with _memory_file(certificate) as certificate_path, _memory_file(key) as key_path:
            # Without a password given, OpenSSL would ask for one at the terminal.
            context.load_cert_chain(certificate_path, key_path, password="")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise ValueError(f"the client certificate and its key can't be used: {error}") from error


@contextmanager
def _memory_file(data: bytes) -> Iterator[str]:
    descriptor = os.memfd_create("ktnet", os.MFD_CLOEXEC)
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(data)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def read_file(path: str) -> bytes:
    """A file that a kubeconfig names. Raises UsageError."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"can't read {path}: {error.strerror}") from error
