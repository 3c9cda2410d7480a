"""A container's environment variables and its command line. Pure.

https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#Container
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ktnet.lab.node.images import Image
from ktnet.lab.node.refusal import config_error

Obj = dict[str, Any]
Find = Callable[[str, str, str], Obj | None]
"""(plural, namespace, name) -> the object, or None."""

_REFERENCE = re.compile(r"\$(?:\$|\(([^()]*)\))")
_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


def build_environment(
    pod: Obj, container: Obj, image: Image, services: Iterable[Obj], find: Find
) -> dict[str, str]:
    """All variables, in the kubelet's order of precedence: later ones win.

    `services` are those that the pod is to know by variables; `find` finds ConfigMaps and Secrets.
    Raises Refusal.
    """
    namespace = pod["metadata"]["namespace"]
    variables = {**image.environment, "HOSTNAME": hostname_of(pod)}
    known = build_service_variables(services)
    variables |= known
    for source in container.get("envFrom") or ():
        variables |= _read_source(source, namespace, find)
    for entry in container.get("env") or ():
        if "value" in entry:
            variables[entry["name"]] = expand(entry["value"], variables)
        elif "valueFrom" in entry:
            value = _read_value(entry["valueFrom"], pod, namespace, find)
            if value is not None:
                variables[entry["name"]] = value
        else:
            variables[entry["name"]] = ""
    return variables


def build_command(container: Obj, image: Image, variables: Mapping[str, str]) -> tuple[str, ...]:
    """What is executed: the pod's command and args, or what the image has in place of either."""
    command = container.get("command")
    arguments = container.get("args")
    if command:
        line = [*command, *(arguments or ())]
    elif arguments:
        line = [*image.entrypoint, *arguments]
    else:
        line = [*image.entrypoint, *image.command]
    if not line:
        raise config_error("no command specified")
    return tuple(expand(word, variables) for word in line)


def expand(text: str, variables: Mapping[str, str]) -> str:
    """$(NAME) becomes the variable's value, $$ a dollar sign; an unknown name stays as it is."""

    def replace(match: re.Match[str]) -> str:
        if match[1] is None:
            return "$"
        return variables.get(match[1], match[0])

    return _REFERENCE.sub(replace, text)


def read_field(pod: Obj, path: str) -> str:
    """A field of the downward API; raises Refusal for one that it doesn't have.

    https://kubernetes.io/docs/concepts/workloads/pods/downward-api/
    """
    meta, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
    if match := _SUBSCRIPT.fullmatch(path):
        return str((meta.get(match[1]) or {}).get(match[2], ""))
    fields: dict[str, Callable[[], str]] = {
        "metadata.name": lambda: meta["name"],
        "metadata.namespace": lambda: meta["namespace"],
        "metadata.uid": lambda: meta["uid"],
        "metadata.labels": lambda: _format_map(meta.get("labels") or {}),
        "metadata.annotations": lambda: _format_map(meta.get("annotations") or {}),
        "spec.nodeName": lambda: spec.get("nodeName", ""),
        "spec.serviceAccountName": lambda: spec.get("serviceAccountName", ""),
        "status.hostIP": lambda: status.get("hostIP", ""),
        "status.hostIPs": lambda: ",".join(each["ip"] for each in status.get("hostIPs") or ()),
        "status.podIP": lambda: status.get("podIP", ""),
        "status.podIPs": lambda: ",".join(each["ip"] for each in status.get("podIPs") or ()),
    }
    if path not in fields:
        raise config_error(f"unsupported fieldPath: {path}")
    return str(fields[path]())


def hostname_of(pod: Obj) -> str:
    """The name that a pod's own processes see."""
    return str(pod["spec"].get("hostname") or pod["metadata"]["name"])[:63]


def build_service_variables(services: Iterable[Obj]) -> dict[str, str]:
    """The variables by which pods know Services without DNS.

    https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
    """
    variables = {}
    for service in services:
        spec = service["spec"]
        address = spec.get("clusterIP")
        if address in {None, "", "None"} or not spec.get("ports"):
            continue
        name = service["metadata"]["name"].upper().replace("-", "_")
        first = spec["ports"][0]
        variables[f"{name}_SERVICE_HOST"] = address
        variables[f"{name}_SERVICE_PORT"] = str(first["port"])
        for port in spec["ports"]:
            if port.get("name"):
                suffix = port["name"].upper().replace("-", "_")
                variables[f"{name}_SERVICE_PORT_{suffix}"] = str(port["port"])
        variables[f"{name}_PORT"] = _build_url(address, first)
        for port in spec["ports"]:
            protocol = port.get("protocol", "TCP")
            prefix = f"{name}_PORT_{port['port']}_{protocol}"
            variables[prefix] = _build_url(address, port)
            variables[f"{prefix}_PROTO"] = protocol.lower()
            variables[f"{prefix}_PORT"] = str(port["port"])
            variables[f"{prefix}_ADDR"] = address
    return variables


def read_content(plural: str, obj: Obj) -> dict[str, bytes]:
    """What a ConfigMap or a Secret holds."""
    if plural == "secrets":
        return {key: base64.b64decode(value) for key, value in (obj.get("data") or {}).items()}
    texts = {key: value.encode() for key, value in (obj.get("data") or {}).items()}
    coded = {k: base64.b64decode(value) for k, value in (obj.get("binaryData") or {}).items()}
    return texts | coded


def find_content(
    plural: str, namespace: str, reference: Obj, find: Find
) -> dict[str, bytes] | None:
    """The content of what `reference` names; None where it isn't there and needn't be.

    Raises Refusal where it has to be.
    """
    name = reference.get("name") or reference.get("secretName") or ""
    obj = find(plural, namespace, name)
    if obj is not None:
        return read_content(plural, obj)
    if reference.get("optional"):
        return None
    raise config_error(f'{plural.removesuffix("s")} "{name}" not found')


def _read_source(source: Obj, namespace: str, find: Find) -> dict[str, str]:
    plural, key = (
        ("secrets", "secretRef") if "secretRef" in source else ("configmaps", "configMapRef")
    )
    content = find_content(plural, namespace, source[key], find)
    prefix = source.get("prefix") or ""
    return {prefix + name: value.decode() for name, value in (content or {}).items()}


def _read_value(source: Obj, pod: Obj, namespace: str, find: Find) -> str | None:
    """None where an optional reference leads nowhere: the variable is not set then."""
    if "fieldRef" in source:
        return read_field(pod, source["fieldRef"]["fieldPath"])
    for kind, plural in (("configMapKeyRef", "configmaps"), ("secretKeyRef", "secrets")):
        if kind not in source:
            continue
        reference = source[kind]
        content = find_content(plural, namespace, reference, find)
        if content is not None and reference["key"] in content:
            return content[reference["key"]].decode()
        if reference.get("optional"):
            return None
        kind_name = "ConfigMap" if plural == "configmaps" else "Secret"
        raise config_error(
            f"couldn't find key {reference['key']} in {kind_name} {namespace}/{reference['name']}"
        )
    raise config_error(f"the lab's kubelet can't read a value from {', '.join(source)}")


def _build_url(address: str, port: Obj) -> str:
    return f"{port.get('protocol', 'TCP').lower()}://{address}:{port['port']}"


def _format_map(entries: Mapping[str, str]) -> str:
    escaped = ((key, _escape(value)) for key, value in sorted(entries.items()))
    return "\n".join(f'{key}="{value}"' for key, value in escaped)


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
