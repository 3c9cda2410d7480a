"""What a kubeconfig says: pure. Empty text is what isn't said, as in kubectl's own structures.

https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where an API server is, and how it is recognised."""

    server: str = ""
    tls_server_name: str = ""
    insecure_skip_tls_verify: bool = False
    certificate_authority: str = ""
    """Path of a PEM file, absolute."""
    certificate_authority_data: bytes = b""
    """PEM; comes before the file."""
    proxy_url: str = ""
    disable_compression: bool = False
    plugin_config: Any = None
    """What the cluster has to say to exec plugins, in an extension of its own."""


@dataclass(frozen=True, slots=True)
class ExecPlugin:
    """A program that gives credentials."""

    command: str
    """A name to be looked up in $PATH, or an absolute path."""
    api_version: str
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    install_hint: str = ""
    provide_cluster_info: bool = False
    interactive_mode: str = "IfAvailable"
    """Whether it may talk with the user: one of Never, IfAvailable, Always."""


@dataclass(frozen=True, slots=True)
class Impersonation:
    """Whom to act as; no user means nobody."""

    user: str = ""
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class User:
    """Who we are. What is secret stays out of what is printed of it."""

    token: str = field(default="", repr=False)
    token_file: str = ""
    """Absolute path; it is read again and again, and what it says comes before `token`."""
    username: str = ""
    password: str = field(default="", repr=False)
    client_certificate: str = ""
    client_certificate_data: bytes = b""
    """PEM; comes before the file."""
    client_key: str = ""
    client_key_data: bytes = field(default=b"", repr=False)
    """PEM; comes before the file."""
    exec: ExecPlugin | None = field(default=None, repr=False)
    auth_provider: str = ""
    """The name of one: built into kubectl once, replaced by exec plugins."""
    impersonation: Impersonation = Impersonation()


@dataclass(frozen=True, slots=True)
class Context:
    """A cluster, a user and a namespace, by their names."""

    cluster: str = ""
    user: str = ""
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class Kubeconfig:
    """One file, or several merged."""

    current_context: str = ""
    clusters: dict[str, Cluster] = field(default_factory=dict)
    users: dict[str, User] = field(default_factory=dict)
    contexts: dict[str, Context] = field(default_factory=dict)
