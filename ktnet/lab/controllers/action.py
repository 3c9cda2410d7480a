"""What a controller may do to the cluster, as data: plans are lists of these."""

from __future__ import annotations

from dataclasses import dataclass, field

from ktnet.lab.api.errors import ApiError
from ktnet.lab.api.store import Store
from ktnet.lab.controllers.kind import Obj


@dataclass(frozen=True)
class Create:
    plural: str
    namespace: str | None
    obj: Obj


@dataclass(frozen=True)
class Merge:
    """A merge patch (RFC 7386) of the object or of a subresource of it."""

    plural: str
    namespace: str | None
    name: str
    patch: Obj
    subresource: str | None = None


@dataclass(frozen=True)
class Replace:
    """The whole object anew."""

    plural: str
    obj: Obj


@dataclass(frozen=True)
class SetStatus:
    """The object's whole new status."""

    plural: str
    obj: Obj
    status: Obj = field(hash=False)


@dataclass(frozen=True)
class Delete:
    plural: str
    namespace: str | None
    name: str
    uid: str
    """Only the object of this uid: a new one of the same name is somebody else's."""
    propagation: str | None = None
    grace_s: int | None = None


Action = Create | Merge | Replace | SetStatus | Delete


def build_delete(plural: str, obj: Obj, *, propagation: str | None = None) -> Delete:
    meta = obj["metadata"]
    return Delete(plural, meta.get("namespace"), meta["name"], meta["uid"], propagation)


def build_merge(plural: str, obj: Obj, patch: Obj, *, subresource: str | None = None) -> Merge:
    meta = obj["metadata"]
    return Merge(plural, meta.get("namespace"), meta["name"], patch, subresource)


def apply_action(store: Store, action: Action) -> None:
    """Does one of them; raises the store's ApiError."""
    match action:
        case Create():
            store.create(action.plural, action.namespace, action.obj)
        case Merge():
            store.patch(
                action.plural,
                action.namespace,
                action.name,
                action.patch,
                subresource=action.subresource,
            )
        case Replace():
            meta = action.obj["metadata"]
            store.update(action.plural, meta.get("namespace"), meta["name"], action.obj)
        case SetStatus():
            # Without resourceVersion: an earlier action of the same plan may have changed the
            # object, and nobody else can have, since plans are made and applied in one go.
            meta = {k: v for k, v in action.obj["metadata"].items() if k != "resourceVersion"}
            store.update(
                action.plural,
                meta.get("namespace"),
                meta["name"],
                {**action.obj, "metadata": meta, "status": action.status},
                subresource="status",
            )
        case Delete():
            store.delete(
                action.plural,
                action.namespace,
                action.name,
                propagation=action.propagation,
                grace_s=action.grace_s,
                uid=action.uid,
            )


def find(store: Store, plural: str, namespace: str | None, name: str) -> Obj | None:
    """The object, or None where there is none."""
    try:
        return store.get(plural, namespace, name)
    except ApiError as error:
        if error.status != 404:
            raise
        return None
