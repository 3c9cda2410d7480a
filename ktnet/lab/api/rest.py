"""The verbs: what a request about a resource does, and what it answers.

kubernetes.io/docs/reference/using-api/api-concepts/#api-verbs
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import yaml
from aiohttp import web

from ktnet.lab.api.admission import Admit
from ktnet.lab.api.authorization import Caller
from ktnet.lab.api.body import (
    parse_delete_options,
    parse_json,
    parse_patch_kind,
)
from ktnet.lab.api.call import Call
from ktnet.lab.api.deletion import Deleted
from ktnet.lab.api.errors import (
    ApiError,
    Obj,
    bad_request,
    describe,
    not_supported,
    wrong_method,
)
from ktnet.lab.api.eviction import evict, parse_eviction
from ktnet.lab.api.listing import (
    build_list,
    choose_version,
    strip_list,
    strip_to_metadata,
    too_old,
)
from ktnet.lab.api.metadata import utc_now
from ktnet.lab.api.podsecurity.admission import (
    build_warning,
    list_namespace_warnings,
    list_pod_warnings,
)
from ktnet.lab.api.query import (
    check_list_options,
    parse_dry_run,
    parse_list_options,
)
from ktnet.lab.api.rbac.escalation import check_escalation
from ktnet.lab.api.resources import Resource
from ktnet.lab.api.scale import build_scale
from ktnet.lab.api.store import Store
from ktnet.lab.api.strategies.strategy import Strategy
from ktnet.lab.api.tables.table import build_table
from ktnet.lab.api.target import Target
from ktnet.lab.api.watching import Watch, encode_event

PART_PATHS = frozenset({"status", "scale", "finalize", "binding", "eviction"})
"""Subresources that are views of the object itself, or what is done to it."""


def encode(document: Obj) -> bytes:
    """A document as it goes over the wire."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def respond(
    document: Obj, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    return web.Response(
        body=encode(document), status=status, content_type="application/json", headers=headers
    )


def respond_error(error: ApiError) -> web.Response:
    return respond(error.body(), error.status, error.headers)


class Rest:
    """Requests about stored resources, against the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._verbs: Mapping[str, Callable[[Call], web.Response]] = {
            "list": self._list,
            "get": self._get,
            "create": self._create,
            "update": self._update,
            "patch": self._patch,
            "delete": self._delete,
            "deletecollection": self._delete_collection,
        }

    async def answer(
        self,
        request: web.BaseRequest,
        target: Target,
        resource: Resource,
        body: bytes,
        caller: Caller,
    ) -> web.StreamResponse:
        """Raises ApiError."""
        check_supported(target, resource)
        call = Call(request, target, resource, body, dict(request.query), caller)
        if target.verb == "watch":
            return await self._watch(call)
        form = call.form
        response = self._verbs[target.verb](call)
        response.headers.extend(call.warnings)
        for text in call.heard:
            response.headers.add("Warning", build_warning(text))
        if form.yaml and isinstance(response.body, bytes):
            response.body = yaml.safe_dump(json.loads(response.body))
            response.content_type = "application/yaml"
        return response

    def _get(self, call: Call) -> web.Response:
        form = call.form
        obj = self._store.get(call.plural, call.namespace, call.name)
        if call.subresource == "scale":
            return respond(build_scale(obj))
        if form.is_table:
            meta = {"resourceVersion": obj["metadata"]["resourceVersion"]}
            return respond(_build_table(call, [obj], meta))
        return respond(strip_to_metadata(obj) if form.is_partial else _show(call, obj))

    def _list(self, call: Call) -> web.Response:
        form = call.form
        check_list_options(call.query, watch=False)
        options = parse_list_options(call.plural, call.query)
        version = choose_version(options, self._store.version)
        try:
            objects = self._store.list_as_of(call.plural, call.namespace, version)
        except ApiError as error:
            raise too_old(options) from error
        listed = build_list(call.resource, objects, options, version)
        if form.is_table:
            return respond(_build_table(call, listed["items"], listed["metadata"]))
        return respond(strip_list(listed) if form.is_partial else listed)

    async def _watch(self, call: Call) -> web.StreamResponse:
        form = call.form
        check_list_options(call.query, watch=True)
        query = call.query
        if call.name:
            # The deprecated /watch/ path of one object.
            query = {**query, "fieldSelector": f"metadata.name={call.name}"}
        options = parse_list_options(call.plural, query)
        watch = Watch(self._store, call.resource, call.namespace, options)
        headers = {"Content-Type": "application/json", **call.warnings}
        response = web.StreamResponse(headers=headers)
        response.enable_chunked_encoding()
        await response.prepare(call.request)
        told = False
        async for event in watch.events():
            tabulated = form.is_table and event["type"] != "ERROR"
            # The columns are said once.
            shown = _tabulate(call, event, defined=not told) if tabulated else event
            told = True
            await response.write(encode_event(shown, form, call.resource))
        await response.write_eof()
        return response

    def _create(self, call: Call) -> web.Response:
        dry_run = parse_dry_run(call.query, "CreateOptions")
        if call.subresource == "binding":
            return self._bind(call, dry_run=dry_run)
        if call.subresource == "eviction":
            return self._evict(call)
        obj = call.parse_object("CreateOptions")
        created = self._store.create(
            call.plural, call.namespace, obj, dry_run=dry_run, admit=self._admit(call)
        )
        return respond(_show(call, created), 201)

    def _bind(self, call: Call, *, dry_run: bool) -> web.Response:
        binding = parse_json("Binding", call.body)
        place = binding.get("target") if isinstance(binding, dict) else None
        node = place.get("name") if isinstance(place, dict) else None
        if not isinstance(node, str):
            raise bad_request("Binding: target.name must be the name of a node")
        self._store.patch(
            "pods",
            call.namespace,
            call.name,
            {"spec": {"nodeName": node}},
            subresource="binding",
            dry_run=dry_run,
        )
        return respond(_success({}), 201)

    def _evict(self, call: Call) -> web.Response:
        eviction = parse_json("Eviction", call.body)
        options, dry_run = parse_eviction(call.name, eviction, call.query)
        evict(self._store, call.namespace or "", call.name, options, utc_now(), dry_run=dry_run)
        return respond(_success({"code": 201}), 201)

    def _update(self, call: Call) -> web.Response:
        dry_run = parse_dry_run(call.query, "UpdateOptions")
        kind = "Scale" if call.subresource == "scale" else ""
        obj = call.parse_object("UpdateOptions", kind)
        existed = self._store.has(call.plural, call.namespace, call.name)
        if (
            not existed
            and not call.subresource
            and self._store.catalog.strategy(call.plural).creates_on_update
        ):
            call.check_may_create()
        updated = self._store.update(
            call.plural,
            call.namespace,
            call.name,
            obj,
            subresource=call.subresource,
            dry_run=dry_run,
            admit=self._admit(call),
        )
        return respond(_show(call, updated), 200 if existed else 201)

    def _patch(self, call: Call) -> web.Response:
        kind = parse_patch_kind(call.content_type, custom=call.resource.custom)
        dry_run = parse_dry_run(call.query, "PatchOptions")
        patched = self._store.patch(
            call.plural,
            call.namespace,
            call.name,
            parse_json(call.resource.kind, call.body),
            kind=kind,
            subresource=call.subresource,
            dry_run=dry_run,
            decode=call.decode_patched,
            admit=self._admit(call),
        )
        return respond(_show(call, patched))

    def _admit(self, call: Call) -> Admit:
        """What depends on who is writing."""

        def admit(new: Obj, old: Obj | None) -> None:
            check_escalation(call.caller, self._store, call.resource, new, old)
            if call.subresource in {None, "ephemeralcontainers"}:
                call.heard.extend(self._list_warnings(call, new, old))

        return admit

    def _list_warnings(self, call: Call, new: Obj, old: Obj | None) -> list[str]:
        if call.plural == "namespaces":
            pods = self._store.list("pods", call.name) if old is not None else []
            return list_namespace_warnings(new, old or new, pods)
        if call.namespace is None or not self._store.has("namespaces", None, call.namespace):
            return []
        return list_pod_warnings(self._store.get("namespaces", None, call.namespace), new)

    def _delete(self, call: Call) -> web.Response:
        options, dry_run = parse_delete_options(call.body, call.query)
        strategy = self._store.catalog.strategy(call.plural)
        headers = {}
        if strategy.delete_warning and options.propagation is None:
            headers["Warning"] = f'299 - "{strategy.delete_warning}"'
        try:
            left = self._store.remove(
                call.plural, call.namespace, call.name, options, dry_run=dry_run
            )
        except ApiError as error:
            error.headers.update(headers)
            raise
        return respond(_build_deleted(call.resource, strategy, left), headers=headers)

    def _delete_collection(self, call: Call) -> web.Response:
        options, dry_run = parse_delete_options(call.body, call.query)
        wanted = parse_list_options(call.plural, call.query)
        objects = self._store.list(call.plural, call.namespace)
        listed = build_list(call.resource, objects, wanted, self._store.version)
        for item in listed["items"]:
            meta = item["metadata"]
            self._store.remove(
                call.plural, meta.get("namespace"), meta["name"], options, dry_run=dry_run
            )
        return respond(listed)


def check_supported(target: Target, resource: Resource) -> None:
    """Whether the resource has that verb; raises ApiError 405 or 501."""
    verbs: tuple[str, ...] = resource.verbs
    if target.subresource:
        part = resource.subresource(target.subresource)
        verbs = part.verbs if part is not None else ()
    if target.method in {"HEAD", "OPTIONS"} or target.verb not in verbs:
        raise wrong_method()
    if target.verb == "create" and target.name and not target.subresource:
        raise wrong_method()
    if target.subresource and target.subresource not in PART_PATHS:
        raise not_supported(f"{resource.plural}/{target.subresource}")


def _build_table(call: Call, objects: list[Obj], meta: Obj, *, defined: bool = True) -> Obj:
    include = call.query.get("includeObject", "")
    return build_table(call.resource, objects, meta, utc_now(), include=include, defined=defined)


def _tabulate(call: Call, event: Obj, *, defined: bool) -> Obj:
    """An event of a watch, with a Table of one row (none, for a bookmark)."""
    obj = event["object"]
    rows = [] if event["type"] == "BOOKMARK" else [obj]
    meta = {"resourceVersion": obj["metadata"]["resourceVersion"]}
    return {**event, "object": _build_table(call, rows, meta, defined=defined)}


def _show(call: Call, obj: Obj) -> Obj:
    if call.subresource == "scale":
        return build_scale(obj)
    # Of a custom resource, all versions are the same but for their name (conversion "None").
    return {**obj, "apiVersion": call.resource.api_version} if call.resource.custom else obj


def _build_deleted(resource: Resource, strategy: Strategy, left: Deleted) -> Obj:
    """The object where it is still there (or its kind always shows it), else a Status."""
    if not left.gone or strategy.returns_deleted:
        return left.obj
    meta = left.obj["metadata"]
    details = describe(meta["name"], resource.group, resource.plural)
    return _success({"details": {**details, "uid": meta["uid"]}})


def _success(extra: Obj) -> Obj:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        **extra,
    }
