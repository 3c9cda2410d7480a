"""Which names, labels and keys Kubernetes accepts. Pure.

kubernetes.io/docs/concepts/overview/working-with-objects/names/ and .../labels/; the sentences are
those of k8s.io/apimachinery/pkg/util/validation.
"""

from __future__ import annotations

import re

from ktnet.lab.api.fieldcheck import FieldCheck

LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
SUBDOMAIN = rf"{LABEL}(\.{LABEL})*"
QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
ENV_NAME = "[-._a-zA-Z][-._a-zA-Z0-9]*"
CONFIG_KEY = "[-._a-zA-Z0-9]+"

_LABEL = re.compile(LABEL)
_SUBDOMAIN = re.compile(SUBDOMAIN)
_QUALIFIED = re.compile(QUALIFIED)
_CONFIG_KEY = re.compile(CONFIG_KEY)

MOST_LABEL = 63
MOST_SUBDOMAIN = 253

_NOT_A_LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and "
    "must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used "
    f"for validation is '{LABEL}')"
)
_NOT_A_SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used "
    f"for validation is '{SUBDOMAIN}')"
)
_NOT_A_NAME_PART = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end "
    "with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for "
    f"validation is '{QUALIFIED}')"
)
_NOT_A_LABEL_VALUE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  "
    "or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
_NOT_A_CONFIG_KEY = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. "
    f"'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '{CONFIG_KEY}')"
)


def check_label(check: FieldCheck, field: str, name: str) -> None:
    """A name that must be an RFC 1123 label: namespaces, Services, containers."""
    if len(name) > MOST_LABEL:
        check.invalid(field, name, f"must be no more than {MOST_LABEL} characters")
    if not _LABEL.fullmatch(name):
        check.invalid(field, name, _NOT_A_LABEL)


def check_subdomain(check: FieldCheck, field: str, name: str) -> None:
    """A name that must be an RFC 1123 subdomain: most objects."""
    if len(name) > MOST_SUBDOMAIN:
        check.invalid(field, name, f"must be no more than {MOST_SUBDOMAIN} characters")
    if not _SUBDOMAIN.fullmatch(name):
        check.invalid(field, name, _NOT_A_SUBDOMAIN)


def check_qualified(check: FieldCheck, field: str, name: str, *, shown: str = "") -> None:
    """A key of a label or annotation: an optional DNS prefix, a slash, and a name."""
    prefix, slash, last = name.rpartition("/")
    shown = shown or name
    if slash and not _SUBDOMAIN.fullmatch(prefix):
        check.invalid(field, shown, f"prefix part {_NOT_A_SUBDOMAIN}")
    if len(last) > MOST_LABEL:
        check.invalid(field, shown, f"name part must be no more than {MOST_LABEL} characters")
    if not last:
        check.invalid(field, shown, "name part must be non-empty")
    if not _QUALIFIED.fullmatch(last):
        check.invalid(field, shown, _NOT_A_NAME_PART)


def check_labels(check: FieldCheck, field: str, labels: dict[str, str]) -> None:
    for key, value in sorted(labels.items()):
        check_qualified(check, field, key)
        if len(value) > MOST_LABEL:
            check.invalid(field, value, f"must be no more than {MOST_LABEL} characters")
        if value and not _QUALIFIED.fullmatch(value):
            check.invalid(field, value, _NOT_A_LABEL_VALUE)


def check_annotations(check: FieldCheck, field: str, annotations: dict[str, str]) -> None:
    # Keys count without regard to case (ValidateAnnotations lowers them first).
    for key in sorted(annotations):
        check_qualified(check, field, key.lower(), shown=key)


def check_config_key(check: FieldCheck, field: str, key: str) -> None:
    """A key of a ConfigMap's or Secret's data; `field` is `data` or `binaryData`."""
    if not _CONFIG_KEY.fullmatch(key):
        check.invalid(f"{field}[{key}]", key, _NOT_A_CONFIG_KEY)
