"""Gives everything that a recording's author chose another name, by a seed.

What is renamed: objects, namespaces, containers, label and annotation values, the values of
ConfigMaps, in requests and answers alike; so an answer that was copied from a recording into the
lab can't match. A new name has the length and the kinds of characters of the old one, so that
what is valid stays valid and what is too long stays too long.
"""

from __future__ import annotations

import base64
import random
import re
import string
from collections.abc import Iterable
from typing import Any

BUILT_IN = frozenset(
    {
        *("default", "kube-system", "kube-public", "kube-node-lease", "kubernetes", "kube-dns"),
        *("kube-root-ca.crt", "coredns", "version", "apps", "batch", "nodes", "namespaces"),
        *(
            "server",
            "request",
            "error",
            "object",
            "field",
            "value",
            "name",
            "resource",
            "large",
            "true",
            "none",
            "other",
        ),
        *("cluster-admin", "admin", "edit", "view", "kubelet", "kube-controller-manager"),
    }
)
"""What the cluster itself calls by these names, whoever uses it; and words of its messages."""

MAPS = frozenset({"labels", "matchLabels", "annotations", "data", "stringData", "nodeSelector"})
"""Members whose keys and values users choose."""

_SHORTEST = 2
"""Shorter names are words of messages too (`a lowercase RFC 1123 label`)."""


class Renamer:
    """One consistent renaming of all that occurs in some cases."""

    def __init__(self, seed: int, documents: Iterable[Any]) -> None:
        self._random = random.Random(seed)
        found: set[str] = set()
        for document in documents:
            collect_names(document, found)
        self._runs: dict[str, str] = {}
        self._names = {name: self._invent(name) for name in sorted(found) if usable(name)}
        longest_first = sorted(self._names, key=len, reverse=True)
        alternatives = "|".join(re.escape(name) for name in longest_first) or "(?!)"
        self._pattern = re.compile(rf"(?<![A-Za-z0-9])(?:{alternatives})(?![A-Za-z0-9])")
        letters = list(string.ascii_lowercase)
        self._random.shuffle(letters)
        digits = list(string.digits)
        self._random.shuffle(digits)
        self._characters = dict(
            zip(string.ascii_lowercase + string.digits, letters + digits, strict=True)
        )

    def name(self, name: str) -> str:
        """The new name of one thing."""
        return self._names.get(name, name)

    def text(self, text: str) -> str:
        """A text in which names may occur."""
        text = self.sent_text(text)
        # Chosen values of one character, in JSON that a message quotes.
        return re.sub(
            '(?<=":")[a-z0-9](?=")', lambda match: self._characters.get(match[0], match[0]), text
        )

    def selector(self, text: str) -> str:
        """A selector in a query, with values of one character too."""
        return re.sub(
            "(?<==)[a-z0-9]$", lambda match: self._characters[match[0]], self.sent_text(text)
        )

    def sent_text(self, text: str) -> str:
        """A body that is sent as the text that it is."""
        return self._pattern.sub(lambda match: self._names[match[0]], text)

    def document(self, value: Any, *, chosen: bool = False) -> Any:
        """JSON with new names; `chosen` says that this is a value which users choose."""
        if isinstance(value, dict):
            pointed = value.get("path") if "op" in value else None
            return {
                self._key(key, chosen=chosen): self._member(value, key, each, pointed, chosen)
                for key, each in value.items()
            }
        if isinstance(value, list):
            return [self.document(each, chosen=chosen) for each in value]
        if not isinstance(value, str):
            return value
        if chosen and len(value) < _SHORTEST:
            return self._characters.get(value, value)
        return self.text(value)

    def _member(self, parent: Any, key: str, value: Any, pointed: Any, chosen: bool) -> Any:
        if key in {"kind", "apiVersion", "reason", "type", "phase"} and isinstance(value, str):
            # A reason is a word; that of an access review is a sentence which names objects.
            return value if " " not in value else self.text(value)
        if "kubernetes.io/" in key:
            # What the cluster's own labels and annotations say: numbers, kinds, names of others.
            chosen = False
        elif key in MAPS:
            chosen = True
        if key == "value" and isinstance(pointed, str):
            # Of a JSON patch.
            chosen = any(f"/{each}/" in pointed for each in MAPS)
        if key == "data" and "type" in parent and isinstance(value, dict):
            # A Secret's.
            return {k: self._encoded(v) for k, v in value.items()}
        return self.document(value, chosen=chosen)

    def _encoded(self, value: str) -> str:
        plain = self.document(base64.b64decode(value).decode(), chosen=True)
        return base64.b64encode(plain.encode()).decode()

    def _key(self, key: str, *, chosen: bool) -> str:
        if chosen or key.startswith(("f:", "k:")):
            return self.text(key)
        return key

    def _invent(self, name: str) -> str:
        return re.sub("[A-Za-z]+", lambda match: self._run(match[0]), name)

    def _run(self, run: str) -> str:
        # The same letters become the same everywhere: what belongs to one family stays in it,
        # and in its order.
        while run not in self._runs:
            new = "".join(self._letter(each) for each in run)
            if new not in self._runs.values():
                self._runs[run] = new
        return self._runs[run]

    def _letter(self, letter: str) -> str:
        letters = string.ascii_lowercase if letter.islower() else string.ascii_uppercase
        return self._random.choice(letters)


def usable(name: str) -> bool:
    made_up = re.fullmatch(r"[0-9a-f-]{36}|kube-api-access-.*", name)
    return len(name) >= _SHORTEST and name not in BUILT_IN and not made_up


def collect_names(value: Any, found: set[str]) -> None:
    """The names of objects, and the values that users choose, in a case's document."""
    if isinstance(value, list):
        for each in value:
            collect_names(each, found)
    if not isinstance(value, dict):
        return
    if isinstance(value.get("path"), str) and "method" in value:
        found.update(_names_in_path(value["path"]))
    meta = value.get("metadata")
    if isinstance(meta, dict):
        named = (meta.get("name"), meta.get("namespace"))
        found.update(name for name in named if isinstance(name, str) and is_own(meta))
        if isinstance(meta.get("generateName"), str):
            found.add(meta["generateName"].rstrip("-"))
        for key in ("labels", "annotations"):
            found.update(_chosen_values(meta.get(key)))
    for key in ("selector", "matchLabels"):
        found.update(_chosen_values(value.get(key)))
    for container in value.get("containers") or []:
        if isinstance(container, dict) and isinstance(container.get("name"), str):
            found.add(container["name"])
    for each in value.values():
        collect_names(each, found)


def is_own(meta: dict[str, Any]) -> bool:
    """Names that the server made up follow from others."""
    return "generateName" not in meta and "ownerReferences" not in meta


def _chosen_values(labels: Any) -> set[str]:
    if not isinstance(labels, dict):
        return set()
    return {
        value
        for key, value in labels.items()
        if isinstance(value, str)
        and "kubernetes.io/" not in key
        and re.fullmatch(r"[\w.-]+", value)
    }


def _names_in_path(path: str) -> set[str]:
    parts = path.strip("/").split("/")
    rest = parts[2:] if parts[0] == "api" else parts[3:]
    found = set()
    if rest[:1] == ["namespaces"] and len(rest) > 1:
        found.add(rest[1])
        rest = rest[2:]
    if len(rest) > 1:
        found.add(rest[1].split(":")[0])
    return found
