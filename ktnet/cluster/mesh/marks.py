"""A version of one's own beside the others: its mark, its labels, the rules to it. Pure."""

from __future__ import annotations

import re
import secrets
import string
from collections.abc import Mapping
from typing import Any

import yaml

from ktnet.errors import UsageError

Json = dict[str, Any]

KEY = "version"
"""The usual label and header by which versions are told apart."""

_LABEL_VALUE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
"""https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/"""
_KEY = re.compile(r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")
"""What is fit for both a label's name and a header's."""

_OF_CONTROLLERS = (
    *("pod-template-hash", "controller-revision-hash"),
    "statefulset.kubernetes.io/pod-name",
)

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?")
_LONGEST_JOB_NAME = 63 - len("-12345")
"""A pod is called as its Job, with five random characters behind."""


def parse_mark(text: str | None) -> tuple[str, str]:
    """(key, value) of `--version-mark [KEY:]VALUE`; five random characters where there is none.

    Raises UsageError for what is no label value.
    """
    if text is None:
        alphabet = string.ascii_lowercase + string.digits
        return KEY, "".join(secrets.choice(alphabet) for _ in range(5))
    key, colon, value = text.rpartition(":")
    key = key.lower() if colon else KEY
    if not _KEY.fullmatch(key):
        raise UsageError(
            f"{text!r}: {key!r} can't be both a label and a header",
            hint="small letters, digits and -, such as version or x-dev",
        )
    if not _LABEL_VALUE.fullmatch(value):
        raise UsageError(
            f"{text!r}: {value!r} is no value of a label",
            hint="at most 63 letters, digits, -, _ and .",
        )
    return key, value


def build_name(workload: str, value: str) -> str:
    """The session's, by which everybody sees whose it is. Raises UsageError where that can't be."""
    name = f"{workload}-kt-{value.lower().replace('_', '-')}"
    if len(name) > _LONGEST_JOB_NAME or not _NAME.fullmatch(name):
        raise UsageError(f"{name} is no name for a shadow", hint="choose a shorter --version-mark")
    return name


def build_labels(pod_labels: Mapping[str, str], key: str, value: str) -> dict[str, str]:
    """The workload's pods', with the mark: without the hash by which a ReplicaSet knows its own."""
    kept = {name: text for name, text in pod_labels.items() if name not in _OF_CONTROLLERS}
    return {**kept, key: value}


def build_rules(service: str, pod_labels: Mapping[str, str], key: str, value: str) -> str:
    """Istio's objects that send requests with the header to the mark, as YAML to be applied.

    https://istio.io/latest/docs/reference/config/networking/virtual-service/
    """
    stable = pod_labels.get(key)
    subsets = [{"name": value.lower(), "labels": {key: value}}]
    others: Json = {"destination": {"host": service}}
    if stable:
        subsets.append({"name": "stable", "labels": {key: stable}})
        others["destination"]["subset"] = "stable"
    rule = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {"name": service},
        "spec": {"host": service, "subsets": subsets},
    }
    routes = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": service},
        "spec": {
            "hosts": [service],
            "http": [
                {
                    "name": f"ktnet-{value.lower()}",
                    "match": [{"headers": {key: {"exact": value}}}],
                    "route": [{"destination": {"host": service, "subset": value.lower()}}],
                },
                {"route": [others]},
            ],
        },
    }
    return yaml.safe_dump_all([rule, routes], sort_keys=False).rstrip()
