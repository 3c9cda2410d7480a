"""Which cluster, as whom, in which namespace: what kubectl would take from the same places.

The one function here is all that the rest knows of kubeconfig files.
"""

from __future__ import annotations

import os
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import incluster_config, kube_config
from kubernetes.aio.config.config_exception import ConfigException

from ktnet.errors import UsageError

_IN_CLUSTER_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@dataclass(frozen=True)
class ClusterTarget:
    """A cluster and our credentials for it."""

    server: str
    """URL of the API server, without a slash at its end."""
    namespace: str
    """Of the context; "default" where it names none."""
    context: str
    """Name of the context; empty inside a cluster, where there is none."""
    configuration: Any
    """Of the Kubernetes client: credentials, trust, proxy."""


async def load_target(kubeconfig: str | None, context: str | None) -> ClusterTarget:
    """Find the cluster: `kubeconfig`, else $KUBECONFIG, else ~/.kube/config, else the pod's own.

    Raises UsageError where there is none, it can't be read, or lacks the context.
    """
    paths = kubeconfig or os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    found = [path for path in paths.split(os.pathsep) if path and _may_exist(Path(path))]
    if found:
        return await _load_kubeconfig(os.pathsep.join(found), context)
    if kubeconfig is None and context is None and "KUBERNETES_SERVICE_HOST" in os.environ:
        return _load_in_cluster()
    raise UsageError(
        f"no kubeconfig: {paths} does not exist",
        hint="name one with --kubeconfig or $KUBECONFIG, as for kubectl",
    )


async def _load_kubeconfig(paths: str, context: str | None) -> ClusterTarget:
    configuration = _new_configuration()
    try:
        for path in paths.split(os.pathsep):
            Path(path).expanduser().open("rb").close()  # the library would ignore one that it can't
        loader = await kube_config.load_kube_config(  # type: ignore[no-untyped-call]
            config_file=paths,
            context=context,
            client_configuration=configuration,
            persist_config=False,
        )
        chosen = loader.current_context
        namespace = chosen["context"].get("namespace") or "default"
    except ConfigException as error:
        if context is not None and context in str(error):
            raise UsageError(
                f"there is no context {context!r} in {paths}",
                hint="`kubectl config get-contexts` lists them",
            ) from error
        raise UsageError(f"{paths}: {error}", hint="does kubectl work with it?") from error
    except yaml.YAMLError as error:
        text = " ".join(str(error).split())
        raise UsageError(f"{paths} is not valid YAML: {text}") from error
    except OSError as error:
        raise UsageError(f"can't read {error.filename or paths}: {error.strerror}") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # What the library's loader does with well-formed YAML of a wrong shape.
        raise UsageError(
            f"{paths} is not a kubeconfig: {error}", hint="does kubectl work with it?"
        ) from error
    try:
        server = _parse_server(configuration.host)
    except ValueError as error:
        raise UsageError(
            f"{paths}: {configuration.host!r} is no address of an API server: {error}",
            hint="it looks like https://HOST:PORT",
        ) from error
    configuration.proxy = configuration.proxy or _find_proxy(server)
    return ClusterTarget(
        server=server,
        namespace=namespace,
        context=chosen["name"],
        configuration=configuration,
    )


def _load_in_cluster() -> ClusterTarget:
    configuration = _new_configuration()
    try:
        incluster_config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]
        namespace = _IN_CLUSTER_NAMESPACE.read_text().strip()
    except (ConfigException, OSError) as error:
        raise UsageError(
            f"this pod has no usable service account: {error}",
            hint="set automountServiceAccountToken, or give a kubeconfig",
        ) from error
    return ClusterTarget(
        server=configuration.host.rstrip("/"),
        namespace=namespace or "default",
        context="",
        configuration=configuration,
    )


def _may_exist(path: Path) -> bool:
    """False where there is surely no such file; reading one that can't be seen says why."""
    try:
        return path.expanduser().exists()
    except OSError:
        return True


def _parse_server(url: str) -> str:
    """The URL without a slash at its end. Raises ValueError where nothing can be reached by it."""
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise ValueError("neither https://HOST nor http://HOST")
    if parts.port == 0:  # itself raises ValueError for what is out of range
        raise ValueError("there is no port 0")
    parts.hostname.encode("idna")  # a label of more than 63 octets
    return url.rstrip("/")


def _find_proxy(server: str) -> str | None:
    """The proxy that $HTTPS_PROXY and $NO_PROXY ask for."""
    url = urlsplit(server)
    if urllib.request.proxy_bypass(url.netloc):
        return None
    return urllib.request.getproxies().get(url.scheme)


def _new_configuration() -> Any:
    configuration = Configuration()
    # Left to the environment, aiohttp would also send credentials from ~/.netrc.
    configuration.client_session_kwargs = {"trust_env": False}
    # Python 3.13 demands extensions of a CA certificate that kubectl doesn't and that the CAs of
    # older clusters lack.
    configuration.disable_strict_ssl_verification = True
    return configuration
