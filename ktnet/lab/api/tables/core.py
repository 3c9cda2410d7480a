"""The other kinds, as `kubectl get` prints them. Pure."""

from __future__ import annotations

from datetime import datetime

from ktnet.lab.api.errors import Obj
from ktnet.lab.api.tables.cells import (
    NONE,
    UNKNOWN,
    Cells,
    Columns,
    format_age,
    format_labels,
    format_since,
    format_some,
    name_of,
)

_ROLE_PREFIX = "node-role.kubernetes.io/"


def print_service(obj: Obj, now: datetime) -> Cells:
    spec = obj["spec"]
    return [
        name_of(obj),
        spec["type"],
        spec.get("clusterIP") or NONE,
        _external_address(obj),
        ",".join(_service_port(port) for port in spec.get("ports") or []) or NONE,
        format_age(obj, now),
        format_labels(spec.get("selector")),
    ]


def _external_address(obj: Obj) -> str:
    spec = obj["spec"]
    addresses = list(spec.get("externalIPs") or [])
    if spec["type"] == "ExternalName":
        return str(spec.get("externalName", ""))
    if spec["type"] == "LoadBalancer":
        balanced = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
        addresses = [each.get("ip") or each.get("hostname") for each in balanced] + addresses
        return ",".join(addresses) or "<pending>"
    return ",".join(addresses) or NONE


def _service_port(port: Obj) -> str:
    node = f":{port['nodePort']}" if port.get("nodePort") else ""
    return f"{port['port']}{node}/{port['protocol']}"


def print_endpoint_slice(obj: Obj, now: datetime) -> Cells:
    ports = [str(port["port"]) for port in obj.get("ports") or [] if port.get("port")]
    addresses = [a for each in obj.get("endpoints") or [] for a in each.get("addresses") or []]
    return [
        name_of(obj),
        obj.get("addressType", ""),
        format_some(ports) if ports else "<unset>",
        format_some(addresses) if addresses else "<unset>",
        format_age(obj, now),
    ]


def print_config_map(obj: Obj, now: datetime) -> Cells:
    count = len(obj.get("data") or {}) + len(obj.get("binaryData") or {})
    return [name_of(obj), count, format_age(obj, now)]


def print_secret(obj: Obj, now: datetime) -> Cells:
    return [name_of(obj), obj["type"], len(obj.get("data") or {}), format_age(obj, now)]


def print_namespace(obj: Obj, now: datetime) -> Cells:
    return [name_of(obj), (obj.get("status") or {}).get("phase", ""), format_age(obj, now)]


def print_lease(obj: Obj, now: datetime) -> Cells:
    return [name_of(obj), obj["spec"].get("holderIdentity", ""), format_age(obj, now)]


def print_event(obj: Obj, now: datetime) -> Cells:
    series = obj.get("series") or {}
    first = format_since(obj.get("firstTimestamp") or obj.get("eventTime"), now)
    last = format_since(obj["lastTimestamp"], now) if obj.get("lastTimestamp") else first
    if series:
        last = format_since(series.get("lastObservedTime"), now)
    about, source = obj["involvedObject"], obj.get("source") or {}
    target = about.get("kind", "").lower()
    component = source.get("component") or obj.get("reportingComponent") or ""
    host = source.get("host") or obj.get("reportingInstance") or ""
    return [
        last,
        obj.get("type", ""),
        obj.get("reason", ""),
        f"{target}/{about['name']}" if about.get("name") else target,
        about.get("fieldPath", ""),
        f"{component}, {host}" if host else component,
        obj.get("message", "").strip(),
        first,
        series.get("count") or obj.get("count") or 1,
        name_of(obj),
    ]


def print_node(obj: Obj, now: datetime) -> Cells:
    status = obj.get("status") or {}
    info = status.get("nodeInfo") or {}
    addresses = {each["type"]: each["address"] for each in status.get("addresses") or []}
    labels = obj["metadata"].get("labels") or {}
    roles = sorted(k.removeprefix(_ROLE_PREFIX) for k in labels if k.startswith(_ROLE_PREFIX))
    kernel = info.get("kernelVersion") or UNKNOWN
    machine = info.get("architecture")
    return [
        name_of(obj),
        _describe_node(obj),
        ",".join(roles) or NONE,
        format_age(obj, now),
        info.get("kubeletVersion", ""),
        addresses.get("InternalIP", NONE),
        addresses.get("ExternalIP", NONE),
        info.get("osImage") or UNKNOWN,
        f"{kernel} ({machine})" if machine else kernel,
        info.get("containerRuntimeVersion") or UNKNOWN,
    ]


def _describe_node(obj: Obj) -> str:
    conditions = (obj.get("status") or {}).get("conditions") or []
    ready = next((each.get("status") for each in conditions if each["type"] == "Ready"), None)
    word = {"True": "Ready", None: "Unknown"}.get(ready, "NotReady")
    return f"{word},SchedulingDisabled" if obj["spec"].get("unschedulable") else word


def print_service_account(obj: Obj, now: datetime) -> Cells:
    return [name_of(obj), len(obj.get("secrets") or []), format_age(obj, now)]


def print_other(obj: Obj, now: datetime) -> Cells:
    return [name_of(obj), obj["metadata"].get("creationTimestamp", "")]


def print_custom(obj: Obj, now: datetime) -> Cells:
    return [name_of(obj), format_age(obj, now)]


CORE = {
    "configmaps": Columns(("Name", "Data", "Age"), 3, print_config_map),
    "endpointslices": Columns(
        ("Name", "AddressType", "Ports", "Endpoints", "Age"), 5, print_endpoint_slice
    ),
    "leases": Columns(("Name", "Holder", "Age"), 3, print_lease),
    "namespaces": Columns(("Name", "Status", "Age"), 3, print_namespace),
    "nodes": Columns(
        (
            *("Name", "Status", "Roles", "Age", "Version"),
            *("Internal-IP", "External-IP", "OS-Image", "Kernel-Version", "Container-Runtime"),
        ),
        5,
        print_node,
    ),
    "secrets": Columns(("Name", "Type", "Data", "Age"), 4, print_secret),
    "serviceaccounts": Columns(("Name", "Secrets", "Age"), 3, print_service_account),
    "services": Columns(
        ("Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age", "Selector"),
        6,
        print_service,
    ),
    "events": Columns(
        (
            *("Last Seen", "Type", "Reason", "Object", "Subobject"),
            *("Source", "Message", "First Seen", "Count", "Name"),
        ),
        10,
        print_event,
    ),
}
"""By the resource's key."""

OTHERS = Columns(("Name", "Created At"), 2, print_other)
"""Kinds of which nobody has said how to print them."""

CUSTOM = Columns(("Name", "Age"), 2, print_custom)
"""Custom resources whose definition says nothing of columns."""

WIDE_EVENT_COLUMNS = frozenset({"Subobject", "Source", "First Seen", "Count", "Name"})
"""Of Events, the columns that are only shown when asked for stand between the others."""
