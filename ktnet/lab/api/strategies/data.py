"""ConfigMaps, Secrets and ServiceAccounts."""

from __future__ import annotations

import base64
import binascii

from ktnet.lab.api.errors import Obj, bad_request
from ktnet.lab.api.fieldcheck import FieldCheck
from ktnet.lab.api.names import check_config_key
from ktnet.lab.api.strategies.strategy import Strategy, put_default

MOST_DATA_BYTES = 1024 * 1024
"""Of a Secret's or ConfigMap's values together."""

_NEEDED = {
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
}
"""Keys without which a Secret of that type makes no sense."""


class ConfigMapStrategy(Strategy):
    def default(self, obj: Obj) -> None:
        for key in ("data", "binaryData"):
            if not obj.get(key):
                obj.pop(key, None)

    def check(self, check: FieldCheck, obj: Obj) -> None:
        for field in ("data", "binaryData"):
            for key in sorted(obj.get(field) or {}):
                check_config_key(check, field, key)
        size = sum(len(value.encode()) for value in (obj.get("data") or {}).values())
        binary = (obj.get("binaryData") or {}).values()
        size += sum(_decoded_length("ConfigMap", value) for value in binary)
        if size > MOST_DATA_BYTES:
            check.too_long("", MOST_DATA_BYTES)

    def check_update(self, check: FieldCheck, new: Obj, old: Obj) -> None:
        _check_frozen(check, new, old)


class SecretStrategy(Strategy):
    checks_changes_first = True

    def default(self, obj: Obj) -> None:
        plain = obj.pop("stringData", None) or {}
        if plain:
            encoded = {k: base64.b64encode(v.encode()).decode() for k, v in plain.items()}
            obj["data"] = {**(obj.get("data") or {}), **encoded}
        if not obj.get("data"):
            obj.pop("data", None)
        put_default(obj, type="Opaque")

    def check(self, check: FieldCheck, obj: Obj) -> None:
        data = obj.get("data") or {}
        for key in sorted(data):
            check_config_key(check, "data", key)
        if sum(_decoded_length("Secret", value) for value in data.values()) > MOST_DATA_BYTES:
            check.too_long("data", MOST_DATA_BYTES)
        for key in _NEEDED.get(obj["type"], ()):
            if key not in data:
                check.required(f"data[{key}]")

    def check_update(self, check: FieldCheck, new: Obj, old: Obj) -> None:
        check.immutable("type", new["type"], old["type"])
        _check_frozen(check, new, old)


class ServiceAccountStrategy(Strategy):
    returns_deleted = True


def _check_frozen(check: FieldCheck, new: Obj, old: Obj) -> None:
    """kubernetes.io/docs/concepts/configuration/secret/#secret-immutable."""
    if not old.get("immutable"):
        return
    if not new.get("immutable"):
        check.forbidden("immutable", "field is immutable when `immutable` is set")
    for field in ("data", "binaryData"):
        if new.get(field) != old.get(field):
            check.forbidden(field, "field is immutable when `immutable` is set")


def _decoded_length(kind: str, value: str) -> int:
    try:
        return len(base64.b64decode(value, validate=True))
    except (binascii.Error, ValueError) as error:
        raise bad_request(
            f'{kind} in version "v1" cannot be handled as a {kind}: illegal base64 data'
        ) from error
