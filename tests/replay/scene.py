"""What was in the recorded cluster before anything was recorded."""

from __future__ import annotations

from replaying import Folder

from ktnet.lab.api.store import Store

NAMESPACES = ("transcripts", "demo")


def build_cluster(folder: Folder, *namespaces: str) -> Store:
    """A store with the namespaces of the recordings, and all that controllers put into them."""
    store = Store()
    for name in namespaces or NAMESPACES:
        add_namespace(store, folder.renamer.name(name))
    return store


def add_namespace(store: Store, name: str) -> None:
    store.create("namespaces", None, {"metadata": {"name": name}})
    store.create("serviceaccounts", name, {"metadata": {"name": "default"}})
    ca = {"metadata": {"name": "kube-root-ca.crt"}, "data": {"ca.crt": "-"}}
    store.create("configmaps", name, ca)
