"""All objects of the cluster, in memory, and the one way in which they are changed.

Whoever writes (a client over HTTP, a controller, the kubelet) goes through the same defaults,
checks and bookkeeping. Objects are plain dicts that are never changed in place: a caller copies
before it changes. All calls are synchronous and happen on one event loop.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from ipaddress import IPv4Network

from ktnet.lab.api.admission import (
    Admit,
    admit_all,
    admit_pod,
    as_it_is,
    check_deletable,
    check_namespace,
)
from ktnet.lab.api.allocation import allocate, list_taken
from ktnet.lab.api.catalog import DEFINITIONS, Catalog
from ktnet.lab.api.deletion import (
    Deleted,
    DeleteOptions,
    check_options,
    check_preconditions,
    is_over,
    plan_deletion,
)
from ktnet.lab.api.errors import (
    Obj,
    already_exists,
    bad_request,
    conflict,
    not_found,
    unknown_resource,
)
from ktnet.lab.api.history import Change, History
from ktnet.lab.api.limitrange import check_limits
from ktnet.lab.api.listing import place_key
from ktnet.lab.api.metadata import (
    Clock,
    build_created,
    build_updated,
    check_place,
    drop_nulls,
    tidy,
    utc_now,
)
from ktnet.lab.api.patch import json_patch, merge_patch
from ktnet.lab.api.podsecurity.admission import check_pod
from ktnet.lab.api.quota import check_quotas
from ktnet.lab.api.resources import Resource
from ktnet.lab.api.scale import apply_scale, build_scale
from ktnet.lab.api.selectors import select_by_labels
from ktnet.lab.api.strategic import strategic_patch
from ktnet.lab.api.strategies.cluster import build_service_cidr
from ktnet.lab.api.strategies.pod import bind_pod
from ktnet.lab.api.strategies.strategy import Strategy
from ktnet.lab.api.validation import (
    check_created,
    check_decodable,
    check_patched,
    check_updated,
    unconditional,
)
from ktnet.lab.api.watch import Watcher

SERVICE_RANGE = IPv4Network("10.96.0.0/16")

Objects = list[Obj]

Place = tuple[str, str]
"""Namespace (empty where there is none) and name."""


class Store:
    """The state of the cluster; every method may raise ApiError."""

    def __init__(
        self, *, service_range: IPv4Network = SERVICE_RANGE, clock: Clock = utc_now
    ) -> None:
        self._service_range = service_range
        self._clock = clock
        self.catalog = Catalog()
        self._objects: dict[str, dict[Place, Obj]] = {
            each.key: {} for each in self.catalog.list_stored()
        }
        self._wakers: dict[str, set[Callable[[], None]]] = {key: set() for key in self._objects}
        self.history = History()
        self.version = 0
        """The resourceVersion of the latest change."""
        self.create("servicecidrs", None, build_service_cidr(service_range, clock()))

    def get(self, plural: str, namespace: str | None, name: str) -> Obj:
        resource, _ = self._kind(plural)
        found = self._objects[plural].get((namespace or "", name))
        if found is None:
            raise not_found(resource.group, plural, name)
        return found

    def has(self, plural: str, namespace: str | None, name: str) -> bool:
        self._kind(plural)
        return (namespace or "", name) in self._objects[plural]

    def list(
        self, plural: str, namespace: str | None = None, labels: dict[str, str] | None = None
    ) -> Objects:
        """Objects in the order of their namespaces and names."""
        self._kind(plural)
        selects = select_by_labels(labels or {})
        found = [
            obj
            for place, obj in self._objects[plural].items()
            if namespace in (None, place[0]) and selects(obj)
        ]
        return sorted(found, key=place_key)

    def list_as_of(self, plural: str, namespace: str | None, version: int) -> Objects:
        """What `list` gave at that resourceVersion; ApiError 410 where that is too long ago."""
        self._kind(plural)
        objects = dict(self._objects[plural])
        for change in reversed(self.history.since(plural, version)):
            meta = change.obj["metadata"]
            place = (meta.get("namespace", ""), meta["name"])
            if change.before is None:
                del objects[place]
            else:
                objects[place] = change.before
        found = [obj for place, obj in objects.items() if namespace in (None, place[0])]
        return sorted(found, key=place_key)

    @contextmanager
    def woken(self, plural: str, wake: Callable[[], None]) -> Iterator[None]:
        """Calls `wake` after every change of that resource."""
        self._wakers[plural].add(wake)
        try:
            yield
        finally:
            self._wakers[plural].discard(wake)

    @contextmanager
    def watch(self, plural: str, namespace: str | None = None) -> Iterator[Watcher]:
        """Everything that is as ADDED, then every change; no event is ever lost."""
        self._kind(plural)

        def read() -> tuple[int, Objects]:
            return self.version, self.list(plural, namespace)

        watcher = Watcher(self.history, plural, namespace, read)
        with self.woken(plural, watcher.wake):
            yield watcher

    def create(
        self,
        plural: str,
        namespace: str | None,
        obj: Obj,
        *,
        dry_run: bool = False,
        admit: Admit = admit_all,
    ) -> Obj:
        resource, strategy = self._kind(plural)
        check_decodable(resource.kind, obj)
        obj = {"metadata": {}, **drop_nulls(obj)}
        check_place(obj, resource, namespace)
        new = build_created(obj, resource, namespace, self._clock())
        if strategy.has_generation:
            new["metadata"]["generation"] = 1
        strategy.default(new)
        strategy.prepare_create(new)
        name = new["metadata"].get("name", "")
        if resource.namespaced:
            check_namespace(self._objects["namespaces"], resource, namespace, name)
        if plural == "pods":
            ranges = self.list("limitranges", namespace)
            admit_pod(self._objects["serviceaccounts"], ranges, new)
        check_created(resource, strategy, new)
        if plural == "pods":
            check_pod(self._objects["namespaces"]["", namespace or ""], new, None)
            check_limits(ranges, new)
        admit(new, None)
        existing = self._objects[plural].get((namespace or "", name))
        if existing is not None:
            dying = "deletionTimestamp" in existing["metadata"]
            prefix = "object is being deleted: " if dying else ""
            raise already_exists(resource.group, plural, name, prefix=prefix)
        if namespace:  # in a dry run too, which only counts for nothing afterwards
            check_quotas(resource, new, self.catalog, partial(self.list, namespace=namespace))
        if plural == "services":
            taken = list_taken(self._objects["services"].values())
            allocate(new, taken, self._service_range, dry_run=dry_run)
        strategy.present(new)
        new = tidy(new, resource)
        return new if dry_run else self._write(plural, new, None)

    def update(
        self,
        plural: str,
        namespace: str | None,
        name: str,
        obj: Obj,
        *,
        subresource: str | None = None,
        dry_run: bool = False,
        admit: Admit = admit_all,
    ) -> Obj:
        """The whole object anew; `subresource` is status, scale, finalize or binding."""
        resource, strategy = self._kind(plural)
        check_decodable("Scale" if subresource == "scale" else resource.kind, obj)
        named = obj.get("metadata", {}).get("name")
        if named and named != name:
            raise bad_request(
                f"the name of the object ({named}) does not match the name on the URL ({name})"
            )
        old = self._objects[plural].get((namespace or "", name))
        if old is None and subresource is None and strategy.creates_on_update:
            return self.create(plural, namespace, obj, dry_run=dry_run, admit=admit)
        if old is None:
            raise not_found(resource.group, plural, name)
        check_place({"metadata": {}, **obj}, resource, namespace)
        version = obj.get("metadata", {}).get("resourceVersion")
        if not version and not strategy.updates_unconditionally:
            raise unconditional(resource, name)
        uid = obj.get("metadata", {}).get("uid")
        if uid and uid != old["metadata"]["uid"]:
            why = (
                f"Precondition failed: UID in precondition: {uid}, "
                f"UID in object meta: {old['metadata']['uid']}"
            )
            raise conflict(resource.group, plural, name, why)
        return self._replace(resource, old, obj, subresource, admit, dry_run=dry_run)

    def patch(
        self,
        plural: str,
        namespace: str | None,
        name: str,
        patch: object,
        *,
        kind: str = "merge",
        subresource: str | None = None,
        dry_run: bool = False,
        decode: Callable[[Obj], Obj] = as_it_is,
        admit: Admit = admit_all,
    ) -> Obj:
        """`kind` is merge (RFC 7386), json (RFC 6902) or strategic; `decode` takes the result."""
        resource, _ = self._kind(plural)
        old = self.get(plural, namespace, name)
        shown = build_scale(old) if subresource == "scale" else old
        match kind:
            case "json":
                patched = json_patch(shown, patch)
            case "strategic":
                patched = strategic_patch(shown, patch)
            case _:
                patched = merge_patch(shown, patch)
        new = decode(check_patched(resource, shown, patched))
        return self._replace(resource, old, new, subresource, admit, dry_run=dry_run)

    def delete(
        self,
        plural: str,
        namespace: str | None,
        name: str,
        *,
        propagation: str | None = None,
        grace_s: int | None = None,
        uid: str | None = None,
    ) -> Obj:
        """The object as it waits for its end, or its last state where it is gone."""
        options = DeleteOptions(propagation, grace_s, uid)
        return self.remove(plural, namespace, name, options).obj

    def remove(
        self,
        plural: str,
        namespace: str | None,
        name: str,
        options: DeleteOptions,
        *,
        dry_run: bool = False,
    ) -> Deleted:
        """`delete` with all its options."""
        resource, strategy = self._kind(plural)
        check_options(options)
        old = self.get(plural, namespace, name)
        check_deletable(resource, name)
        check_preconditions(old, resource, options)
        planned = plan_deletion(old, plural, strategy, options, self._clock())
        new = tidy(planned.obj, resource)
        if dry_run or (new == old and not planned.gone):
            return Deleted(new, planned.gone)
        if planned.gone and plural == "pods" and new != old:
            # Watchers see the mark before the end, however short the time in between.
            old = self._write(plural, new, old)
            return Deleted(self._remove(plural, old), gone=True)
        if planned.gone:
            return Deleted(self._remove(plural, old, new), gone=True)
        return Deleted(self._write(plural, new, old), gone=False)

    def _replace(
        self,
        resource: Resource,
        old: Obj,
        obj: Obj,
        subresource: str | None,
        admit: Admit,
        *,
        dry_run: bool,
    ) -> Obj:
        plural, strategy = resource.key, self.catalog.strategy(resource.key)
        version = obj.get("metadata", {}).get("resourceVersion")
        if version and version != old["metadata"]["resourceVersion"]:
            raise conflict(resource.group, plural, old["metadata"]["name"])
        if subresource == "scale":
            new = apply_scale(old, obj)
        else:
            new = build_updated({"metadata": {}, **drop_nulls(obj)}, old)
        new = self._prepare(resource, new, old, subresource)
        check_updated(resource, strategy, new, old)
        if plural == "pods" and subresource in {None, "ephemeralcontainers"}:
            check_pod(self._objects["namespaces"]["", new["metadata"]["namespace"]], new, old)
        admit(new, old)
        if plural == "services":
            others = [each for each in self._objects[plural].values() if each is not old]
            allocate(new, list_taken(others), self._service_range, dry_run=dry_run)
        strategy.present(new)
        if subresource in {None, "scale"} and strategy.is_new_generation(new, old):
            new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1
        new = tidy(new, resource)
        if is_over(new):
            # The last finalizer went: so does the object, as it last was.
            return new if dry_run else self._remove(plural, old)
        if new == old or dry_run:
            return old if new == old else new
        return self._write(plural, new, old)

    def _prepare(self, resource: Resource, new: Obj, old: Obj, subresource: str | None) -> Obj:
        strategy = self.catalog.strategy(resource.key)
        match subresource:
            case "status":
                strategy.prepare_status(new, old)
                new = copy.deepcopy(new)
            case "finalize":
                new = {**old, "spec": new.get("spec", {})}
            case "binding":
                new = copy.deepcopy(bind_pod(old, new["spec"]["nodeName"], self._clock()))
            case "scale":
                pass
            case _:
                strategy.default(new)
                strategy.prepare_update(new, old)
                new = copy.deepcopy(new)
        return new

    def _write(self, plural: str, new: Obj, old: Obj | None) -> Obj:
        self.version += 1
        meta = new["metadata"]
        new = tidy(
            {**new, "metadata": {**meta, "resourceVersion": str(self.version)}},
            self._kind(plural)[0],
        )
        self._objects[plural][meta.get("namespace", ""), meta["name"]] = new
        kind = "ADDED" if old is None else "MODIFIED"
        self._tell(plural, Change(self.version, kind, new, old))
        if plural == DEFINITIONS:
            key = self.catalog.define(new)
            self._objects.setdefault(key, {})
            self._wakers.setdefault(key, set())
        return new

    def _remove(self, plural: str, old: Obj, last: Obj | None = None) -> Obj:
        """Gives the object as it last was: `last`, where that differs from what is stored."""
        self.version += 1
        meta = old["metadata"]
        del self._objects[plural][meta.get("namespace", ""), meta["name"]]
        shown = last or old
        version = {"resourceVersion": str(self.version)}
        told = {**shown, "metadata": {**shown["metadata"], **version}}
        self._tell(plural, Change(self.version, "DELETED", told, old))
        if plural == DEFINITIONS:
            # All objects of the kind go with it.
            for obj in list(self._objects[meta["name"]].values()):
                self._remove(meta["name"], obj)
            self.catalog.forget(old)
        return shown

    def _tell(self, plural: str, change: Change) -> None:
        self.history.append(plural, change)
        for wake in self._wakers[plural]:
            wake()

    def _kind(self, plural: str) -> tuple[Resource, Strategy]:
        found = self.catalog.find(plural)
        if found is None:
            raise unknown_resource()
        return found
