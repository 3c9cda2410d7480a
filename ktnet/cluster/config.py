"""Which cluster, as whom, in which namespace: what kubectl would take from the same places."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from ktnet.cluster.kubeconfig.access import Access, build_access
from ktnet.cluster.kubeconfig.choose import Choice, choose_context
from ktnet.cluster.kubeconfig.files import find_files, no_kubeconfig, read_files
from ktnet.cluster.kubeconfig.incluster import choose_own_account, is_in_cluster

PLUGIN_TIMEOUT_S = 30.0
"""For an exec plugin that nobody talks with: some ask a server far away, none needs longer."""


@dataclass(frozen=True)
class ClusterTarget:
    """A cluster and our credentials for it."""

    server: str
    """URL of the API server, without a slash at its end."""
    namespace: str
    """Of the context; "default" where it names none."""
    context: str
    """Name of the context; empty inside a cluster, where there is none."""
    access: Access
    """Trust, credentials, proxy."""


def load_target(
    kubeconfig: str | None, context: str | None, *, plugin_timeout_s: float = PLUGIN_TIMEOUT_S
) -> ClusterTarget:
    """Find the cluster: `kubeconfig`, else $KUBECONFIG, else ~/.kube/config, else the pod's own.

    Raises UsageError where there is none, it can't be read, or lacks the context. Nothing is
    sent, and no plugin run, before the first request.
    """
    paths = find_files(kubeconfig)
    if paths:
        source = ":".join(map(str, paths))
        choose: Callable[[], Choice] = partial(_choose, kubeconfig, context)
    elif context is None and is_in_cluster():
        source, choose = "this pod's account", choose_own_account
    else:
        raise no_kubeconfig()
    choice = choose()
    server, access = build_access(choice, source, choose, plugin_timeout_s)
    return ClusterTarget(server, choice.namespace, choice.context, access)


def _choose(kubeconfig: str | None, context: str | None) -> Choice:
    paths = find_files(kubeconfig)
    return choose_context(read_files(paths), context, ":".join(map(str, paths)))
