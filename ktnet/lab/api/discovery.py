"""What the API server says that it serves: legacy and aggregated discovery. Pure.

kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from ktnet.lab.api.catalog import Catalog
from ktnet.lab.api.errors import Obj
from ktnet.lab.api.resources import Resource, Subresource

VERSION: Obj = {
    "major": "1",
    "minor": "36",
    "emulationMajor": "1",
    "emulationMinor": "36",
    "minCompatibilityMajor": "1",
    "minCompatibilityMinor": "35",
    "gitVersion": "v1.36.2",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "2026-07-01T00:00:00Z",
    "goVersion": "none (ktnet lab)",
    "compiler": "none",
    "platform": "linux/amd64",
}
"""The version whose answers the lab gives; the rest says that it is not that program."""

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
HEALTH_PATHS = ("/healthz", "/livez", "/readyz")


def build_document(catalog: Catalog, path: str, server: str) -> Obj | None:
    """The legacy document at that path, None where there is none; `server` is "host:port"."""
    document: Obj | None = None
    match path.strip("/").split("/"):
        case ["version"]:
            document = VERSION
        case ["api"]:
            reached = {"clientCIDR": "0.0.0.0/0", "serverAddress": server}
            document = {"kind": "APIVersions", "versions": ["v1"]}
            document["serverAddressByClientCIDRs"] = [reached]
        case ["api", "v1"]:
            document = _resource_list(catalog, "", "v1")
        case ["apis"]:
            groups = [_group(*group) for group in catalog.groups().items()]
            document = {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
        case ["apis", group] if group in catalog.groups():
            versions = catalog.groups()[group]
            document = {"kind": "APIGroup", "apiVersion": "v1", **_group(group, versions)}
        case ["apis", group, version] if catalog.list_group(group, version):
            document = _resource_list(catalog, group, version)
        case [""]:
            document = {"paths": _list_paths(catalog)}
    return document


def build_aggregated(catalog: Catalog, path: str) -> Obj | None:
    """The aggregated document at /api or /apis."""
    by_path = {"/api": {"": ["v1"]}, "/apis": catalog.groups()}
    groups = by_path.get(path.rstrip("/"))
    if groups is None:
        return None
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": [
            {
                "metadata": {"name": group} if group else {},
                "versions": [
                    {
                        "version": version,
                        "resources": [_discovered(r) for r in catalog.list_group(group, version)],
                        "freshness": "Current",
                    }
                    for version in versions
                ],
            }
            for group, versions in groups.items()
        ],
    }


def wants_aggregated(accept: str) -> bool:
    """Whether a client can read the aggregated form, v2."""
    wanted = {"g=apidiscovery.k8s.io", "v=v2", "as=APIGroupDiscoveryList"}
    return any(
        wanted <= {parameter.strip() for parameter in part.split(";")} for part in accept.split(",")
    )


def build_etag(document: Obj) -> str:
    text = json.dumps(document, sort_keys=True)
    return f'"{hashlib.sha512(text.encode()).hexdigest().upper()}"'


def _group(name: str, versions: list[str]) -> Obj:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def _resource_list(catalog: Catalog, group: str, version: str) -> Obj:
    entries: list[Obj] = []
    for resource in catalog.list_group(group, version):
        entry: Obj = {
            "name": resource.plural,
            "singularName": resource.singular_name,
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": list(resource.verbs),
            **_extras(resource),
        }
        entries.append(entry)
        entries.extend(_subentry(resource, each) for each in resource.subresources)
    document: Obj = {"kind": "APIResourceList"}
    if group:
        # The core group's list has none, for reasons lost in v1.0.
        document["apiVersion"] = "v1"
    group_version = f"{group}/{version}" if group else version
    return {**document, "groupVersion": group_version, "resources": entries}


def _extras(resource: Resource) -> Obj:
    extras: dict[str, Any] = {
        "shortNames": list(resource.short_names),
        "categories": list(resource.categories),
    }
    return {key: value for key, value in extras.items() if value}


def _subentry(resource: Resource, part: Subresource) -> Obj:
    entry: Obj = {
        "name": f"{resource.plural}/{part.name}",
        "singularName": "",
        "namespaced": resource.namespaced,
    }
    if part.group:
        entry |= {"group": part.group, "version": part.version}
    return {**entry, "kind": part.kind or resource.kind, "verbs": list(part.verbs)}


def _discovered(resource: Resource) -> Obj:
    entry: Obj = {
        "resource": resource.plural,
        "responseKind": {"group": "", "version": "", "kind": resource.kind},
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular_name,
        "verbs": list(resource.verbs),
        **_extras(resource),
    }
    if resource.subresources:
        entry["subresources"] = [
            {
                "subresource": part.name,
                "responseKind": {
                    "group": part.group,
                    "version": part.version,
                    "kind": part.kind or resource.kind,
                },
                "verbs": list(part.verbs),
            }
            for part in resource.subresources
        ]
    return entry


def _list_paths(catalog: Catalog) -> list[str]:
    groups = [
        path
        for name, versions in catalog.groups().items()
        for path in (f"/apis/{name}", *(f"/apis/{name}/{version}" for version in versions))
    ]
    return sorted(["/api", "/api/v1", "/apis", *groups, *HEALTH_PATHS, "/version"])
