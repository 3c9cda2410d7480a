"""Compares what the lab answered with what was recorded, volatile fields aside.

A volatile field must have the form of the recorded one, and where one value stands for another
(a uid, a resourceVersion, an address) it must do so every time: the recorded values are bound to
the lab's, and requests that carry a recorded value are sent with the lab's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
_MICRO_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"
_UID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_ADDRESS = r"(\d{1,3}\.){3}\d{1,3}"

VOLATILE = {
    **dict.fromkeys(
        (
            *("creationTimestamp", "deletionTimestamp", "time", "lastTransitionTime"),
            *("lastUpdateTime", "lastProbeTime", "startTime", "completionTime", "startedAt"),
            *("finishedAt", "lastTimestamp", "firstTimestamp", "expirationTimestamp"),
            "io/last-change-trigger-time",
        ),
        _TIME,
    ),
    "uid": _UID,
    "resourceVersion": r"\d+",
    **dict.fromkeys(("clusterIP", "clusterIPs", "podIP", "ip", "hostIP", "addresses"), _ADDRESS),
    "nodePort": r"3[0-2]\d{3}",
    "healthCheckNodePort": r"3[0-2]\d{3}",
    "continue": r"[\w-]+",
    **dict.fromkeys(("containerID", "imageID"), r"\S*"),
    "token": r"<TOKEN placeholder>|[\w-]+\.[\w-]+\.[\w-]+",
    "io/credential-id": rf"JTI={_UID}",
    "gitCommit": r"[0-9a-f]{40}|",
    "goVersion": r"go[\d.]+|none \(ktnet lab\)",
    "compiler": r"gc|none",
    "Etag": r'"[0-9A-F]{128}"',
}
"""The one list of fields whose values differ from run to run, with the form that they have."""

BOUND = frozenset(
    {
        *("uid", "resourceVersion", "clusterIP", "clusterIPs", "podIP", "ip", "addresses"),
        *("nodePort", "continue"),
    }
)
"""Of these, one recorded value is one value of the lab, wherever it occurs."""

NEVER_BOUND = frozenset({"", "0", "1", "None"})

LEFT_OUT = frozenset({"managedFields", "description"})
"""Which manager owns which field (the lab doesn't keep it), and the prose of Tables' columns."""

SUFFIX = r"[bcdfghjklmnpqrstvwxz2456789]{5}"
"""What a server puts behind a generateName."""


REFERRED = re.compile(rf"(?P<base>.+?)(-[0-9bcdfghjklmnpqrstvwxz]{{6,10}})?-{SUFFIX}")
"""The name of a pod that a ReplicaSet or a Job has made."""

_VOLATILE_TEXTS = (
    # resourceVersions in messages that no other answer need have shown.
    (r"(?<=ResourceVersion in record \()\d+|(?<=current: )\d+", "N"),
    (r"(?<=too old resource version: \d{3} \()\d+", "N"),
    # Objects that Go prints as the structs that it keeps in memory.
    (r"(?s)\n(@@ -.*)?$", ""),
    (r"Invalid value: \{.*?[Ss]pec.*\}(?=: field is immutable)", "Invalid value: {}"),
    # What LEFT_OUT leaves out, in JSON that a message quotes.
    (r',?\\"managedFields\\":\[.*?\}\]', ""),
    (r'(?<=\\"creationTimestamp\\":\\")[^"\\]*', "TIME"),
    # Ages, in Tables.
    (r"^(\d+[smhdy]){1,2}$", "AGE"),
)
"""What messages and cells show that differs from run to run, and what stands for it."""


def _settle(text: str) -> str:
    for pattern, replacement in _VOLATILE_TEXTS:
        text = re.sub(pattern, replacement, text)
    return text


GENERATED = re.compile(r"kube-api-access-" + SUFFIX)
"""Names that the server makes up without a generateName."""


@dataclass
class Bindings:
    """Which value of the lab stands for which recorded one."""

    values: dict[str, dict[str, str]] = field(default_factory=dict)

    def bind(self, key: str, recorded: str, found: str) -> bool:
        """Whether that agrees with what was bound before."""
        if recorded in NEVER_BOUND:
            return recorded == found
        table = self.values.setdefault(_family(key), {})
        return table.setdefault(recorded, found) == found

    def put(self, key: str, recorded: str, found: str) -> None:
        """Binds it, whatever was bound before."""
        self.values.setdefault(_family(key), {})[recorded] = found

    def resolve(self, key: str, recorded: str) -> str:
        return self.values.get(_family(key), {}).get(recorded, recorded)

    def document(self, value: Any, key: str = "") -> Any:
        """A request's or an answer's JSON with the lab's values in it."""
        if isinstance(value, dict):
            return {each: self.document(below, each) for each, below in value.items()}
        if isinstance(value, list):
            return [self.document(each, key) for each in value]
        if not isinstance(value, str):
            return value
        return self.resolve(key, value) if key in BOUND else self.text(value)

    def text(self, text: str) -> str:
        """A text that may name uids, generated names, resourceVersions."""
        text = re.sub(_UID, lambda match: self.resolve("uid", match[0]), text)
        text = re.sub(r"\b\d{3,}\b", lambda match: self.resolve("resourceVersion", match[0]), text)
        for recorded, found in self.values.get("name", {}).items():
            text = text.replace(recorded, found)
        return text


def _family(key: str) -> str:
    return "ip" if key in {"clusterIP", "clusterIPs", "podIP", "hostIP", "addresses"} else key


def compare(recorded: Any, found: Any, bindings: Bindings, path: str = "") -> list[str]:
    """What differs, a line each; empty where the answers are the same."""
    if isinstance(recorded, dict) and isinstance(found, dict):
        return _compare_objects(recorded, found, bindings, path)
    if isinstance(recorded, list) and isinstance(found, list):
        if len(recorded) != len(found):
            return [f"{path}: {len(found)} elements instead of {len(recorded)}: {found!r:.300}"]
        pairs = enumerate(zip(recorded, found, strict=True))
        return [line for i, (r, f) in pairs for line in compare(r, f, bindings, f"{path}[{i}]")]
    key = re.sub(r"\[\d+\]$", "", path).rpartition(".")[2]
    if key in VOLATILE and isinstance(recorded, (str, int)):
        return _compare_volatile(key, recorded, found, bindings, path)
    if isinstance(recorded, str) and isinstance(found, str):
        if _settle(bindings.text(recorded)) == _settle(found):
            return []
        if GENERATED.fullmatch(recorded) and GENERATED.fullmatch(found):
            same = bindings.bind("name", recorded, found)
            return [] if same else [f"{path}: {found!r} is not the name given before"]
    if type(recorded) is not type(found) or recorded != found:
        return [f"{path}: {found!r:.1500} instead of {bindings.document(recorded)!r:.1500}"]
    return []


def _compare_objects(recorded: Any, found: Any, bindings: Bindings, path: str) -> list[str]:
    missing, extra = recorded.keys() - found.keys(), found.keys() - recorded.keys()
    differences = [
        *(f"{path}.{key}: missing ({recorded[key]!r:.300})" for key in missing - LEFT_OUT),
        *(f"{path}.{key}: too much ({found[key]!r:.300})" for key in extra - LEFT_OUT),
    ]
    generated = recorded.get("generateName")
    for key in recorded:
        if key not in found or key in LEFT_OUT:
            continue
        if key == "name" and generated and recorded[key].startswith(generated):
            differences += _compare_generated(generated, recorded[key], found, bindings, path)
        elif key == "name" and _refer_alike(recorded, found, bindings):
            continue
        else:
            differences += compare(recorded[key], found[key], bindings, f"{path}.{key}")
    return differences


def _refer_alike(recorded: Any, found: Any, bindings: Bindings) -> bool:
    """Whether both refer, by uid too, to a pod whose name a controller made up of the same one."""
    if recorded.get("kind") != "Pod" or "uid" not in recorded:
        return False
    names = [REFERRED.fullmatch(str(each["name"])) for each in (recorded, found)]
    if None in names or names[0]["base"] != names[1]["base"]:
        return False
    return bindings.bind("name", recorded["name"], found["name"])


def _compare_generated(
    prefix: str, recorded: str, found: Any, bindings: Bindings, path: str
) -> list[str]:
    name, prefix = found["name"], found.get("generateName", prefix)
    if name == recorded:
        return []  # put there by that name
    if re.fullmatch(re.escape(prefix) + SUFFIX, str(name)) and bindings.bind(
        "name", recorded, name
    ):
        return []
    return [f"{path}.name: {name!r} is no name generated from {prefix!r}"]


def _compare_volatile(
    key: str, recorded: str | int, found: Any, bindings: Bindings, path: str
) -> list[str]:
    form = _MICRO_TIME if re.fullmatch(_MICRO_TIME, str(recorded)) else VOLATILE[key]
    if recorded == found:
        return []
    if not re.fullmatch(form, str(recorded)):
        # Not of the volatile kind after all: `clusterIP: None`, a name in `ip`.
        return [f"{path}: {found!r} instead of {recorded!r}"]
    if type(recorded) is not type(found) or not re.fullmatch(form, str(found)):
        return [f"{path}: {found!r} has not the form of {recorded!r}"]
    if key in BOUND and not bindings.bind(key, str(recorded), str(found)):
        wanted = bindings.resolve(key, str(recorded))
        return [f"{path}: {found!r} where the same was {wanted!r} before"]
    return []
