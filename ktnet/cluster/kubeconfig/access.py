"""From a chosen context to what requests need: trust, credentials and the way."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from ktnet.cluster.kubeconfig.choose import Choice, parse_server
from ktnet.cluster.kubeconfig.credentials import (
    Constant,
    Credentials,
    Headers,
    Impersonated,
    Plugin,
    Reloaded,
    TokenFile,
    build_basic,
    build_bearer,
)
from ktnet.cluster.kubeconfig.model import User
from ktnet.cluster.kubeconfig.plugin import run_plugin
from ktnet.cluster.kubeconfig.proxies import choose_proxy
from ktnet.cluster.kubeconfig.tls import TrustContext, build_trust, read_file, show_certificate
from ktnet.errors import UsageError


@dataclass(frozen=True)
class Access:
    """How an API server is reached, and as whom."""

    trust: TrustContext
    """What it proves itself by; and the certificate that we show, where we have one."""
    credentials: Credentials
    proxy: str | None = None
    """URL of an HTTP, HTTPS or SOCKS5 proxy."""


def build_access(
    choice: Choice, source: str, choose_again: Callable[[], Choice], plugin_timeout_s: float
) -> tuple[str, Access]:
    """The server's URL, and the access to it.

    `source` names the files in errors; `choose_again` reads them anew. Raises UsageError for a
    configuration that can't be used. No plugin is run yet.
    """
    server = parse_server(choice.cluster.server, source)
    trust = build_trust(choice.cluster)
    # In the clear nobody shall read a token: kubectl sends none to an http:// server either.
    may_log_in = server.startswith("https:")
    access = Access(
        trust,
        _build_credentials(choice, trust, choose_again, plugin_timeout_s, may_log_in=may_log_in),
        choose_proxy(server, choice.cluster.proxy_url, os.environ),
    )
    return server, access


def _build_credentials(
    choice: Choice,
    trust: TrustContext,
    choose_again: Callable[[], Choice],
    plugin_timeout_s: float,
    *,
    may_log_in: bool,
) -> Credentials:
    user = choice.user
    credentials: Credentials
    if not may_log_in:
        credentials = Constant([])
    elif user.token_file:
        _show(trust, user)
        credentials = TokenFile(user.token_file, user.token)
    elif user.exec is not None and not (user.token or user.username or user.password):
        authority = choice.cluster.certificate_authority_data
        if not authority and choice.cluster.certificate_authority:
            authority = read_file(choice.cluster.certificate_authority)
        run = partial(run_plugin, user.exec, choice.cluster, authority, plugin_timeout_s)
        credentials = Plugin(run, trust)
    else:
        credentials = _build_written(user, trust, choose_again)
    if user.impersonation.user:
        return Impersonated(credentials, user.impersonation)
    return credentials


def _build_written(
    user: User, trust: TrustContext, choose_again: Callable[[], Choice]
) -> Credentials:
    """Those that the kubeconfig itself has."""
    known = (_headers(user), _show(trust, user))
    generation = 0

    def reload() -> Credentials | None:
        nonlocal known, generation
        user = choose_again().user
        found = (_headers(user), _read_pair(user))
        if found == known:
            return None
        if found[1] != known[1]:
            _show(trust, user)
            generation += 1
        known = found
        return Constant(found[0], generation)

    return Reloaded(Constant(known[0]), reload)


def _headers(user: User) -> Headers:
    if user.token:
        return [build_bearer(user.token)]
    if user.username or user.password:
        return [build_basic(user.username, user.password)]
    return []


def _read_pair(user: User) -> tuple[bytes, bytes] | None:
    """The client's certificate and its key, PEM."""
    if not (user.client_certificate or user.client_certificate_data):
        return None
    return (
        user.client_certificate_data or read_file(user.client_certificate),
        user.client_key_data or read_file(user.client_key),
    )


def _show(trust: TrustContext, user: User) -> tuple[bytes, bytes] | None:
    pair = _read_pair(user)
    if pair is not None:
        try:
            show_certificate(trust, *pair)
        except ValueError as error:
            raise UsageError(str(error), hint="does kubectl work with it?") from error
    return pair
