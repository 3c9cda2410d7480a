"""What the body of a request says. Pure."""

from __future__ import annotations

import json
from typing import Any

import yaml

from ktnet.lab.api.deletion import DeleteOptions
from ktnet.lab.api.errors import ApiError, Obj, bad_request, not_supported
from ktnet.lab.api.fieldvalidation import Members, keep_known, refuse
from ktnet.lab.api.resources import Resource

MOST_BODY_BYTES = 3 * 1024 * 1024
"""As a real API server: more would not fit into etcd anyway."""

PATCH_KINDS = {
    "application/json-patch+json": "json",
    "application/merge-patch+json": "merge",
    "application/strategic-merge-patch+json": "strategic",
}
_UNKNOWN_FORMAT = (
    "the body of the request was in an unknown format - accepted media types include: "
    "application/json, application/yaml, application/vnd.kubernetes.protobuf"
)
_PART_VERSIONS = {"Scale": "autoscaling/v1", "TokenRequest": "authentication.k8s.io/v1"}
"""Of what subresources take, where it isn't the object's own."""


def too_large() -> ApiError:
    return ApiError(
        413,
        "RequestEntityTooLarge",
        f"Request entity too large: limit is {MOST_BODY_BYTES}",
    )


def parse_patch_kind(content_type: str, *, custom: bool) -> str:
    """merge, json or strategic (not for custom resources); raises ApiError 415 or 501."""
    media = content_type.partition(";")[0].strip()
    if media == "application/apply-patch+yaml":
        raise not_supported("server-side apply")
    if media not in PATCH_KINDS or (custom and PATCH_KINDS[media] == "strategic"):
        raise ApiError(415, "UnsupportedMediaType", "415: Unsupported Media Type", {})
    return PATCH_KINDS[media]


def parse_json(kind: str, body: bytes, *, hook: type[dict[str, Any]] | None = None) -> Any:
    """Raises ApiError 400, as far as possible in the words of Go's decoder."""
    try:
        return json.loads(body, parse_constant=_refuse_constant, object_pairs_hook=hook)
    except (ValueError, RecursionError) as error:
        shown = body[:200].decode(errors="replace") or "<empty>"
        raise bad_request(
            f"the object provided is unrecognized (must be of type {kind}): couldn't get "
            f"version/kind; json parse error: {_say(error, body)} ({shown})"
        ) from error


def parse_yaml(kind: str, body: bytes) -> Any:
    """YAML that could be JSON as well; raises ApiError 400."""
    try:
        return json.loads(json.dumps(yaml.safe_load(body)))
    except (yaml.YAMLError, TypeError, ValueError, RecursionError) as error:
        raise bad_request(
            f"the object provided is unrecognized (must be of type {kind}): couldn't get "
            f"version/kind; error converting YAML to JSON: {error}"
        ) from error


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"invalid character '{name[0]}' looking for beginning of value")


def _say(error: Exception, body: bytes) -> str:
    if not body.strip():
        return "unexpected end of JSON input"
    if not isinstance(error, json.JSONDecodeError):
        return str(error)
    found = error.doc[error.pos : error.pos + 1]
    if not found:
        return "unexpected end of JSON input"
    if error.msg.startswith("Expecting property name"):
        return f"invalid character '{found}' looking for beginning of object key string"
    return f"invalid character '{found}' looking for beginning of value"


def parse_object(
    resource: Resource, content_type: str, body: bytes, *, kind: str = "", directive: str = "Ignore"
) -> tuple[Obj, list[str]]:
    """An object of that resource (or of `kind`, as /scale takes one), and what to warn of.

    `directive` is the request's fieldValidation. Raises ApiError 400, 415.
    """
    wanted = kind or resource.kind
    obj = _parse_any(resource, content_type, body, wanted)
    if resource.custom:
        return obj, []
    known, complaints = keep_known(wanted, obj)
    if complaints and directive == "Strict":
        raise refuse(wanted, resource.version, complaints)
    return known, complaints if directive == "Warn" else []


def _parse_any(resource: Resource, content_type: str, body: bytes, wanted: str) -> Obj:
    media = content_type.partition(";")[0].strip()
    if media == "application/vnd.kubernetes.protobuf":
        raise not_supported("bodies in protobuf: send JSON or YAML")
    if media not in {"", "application/json", "application/yaml"}:
        raise ApiError(415, "UnsupportedMediaType", _UNKNOWN_FORMAT)
    if media.endswith("yaml"):
        obj = parse_yaml(wanted, body)
    else:
        obj = parse_json(wanted, body, hook=Members)
    if not isinstance(obj, dict):
        raise bad_request(
            f"the object provided is unrecognized (must be of type {wanted}): couldn't get "
            "version/kind; json parse error: json: cannot unmarshal into Go value of type "
            "struct { APIVersion string; Kind string }"
        )
    found, version = obj.get("kind") or wanted, obj.get("apiVersion")
    if found != wanted:
        raise _wrong_kind(wanted, str(found))
    expected = _PART_VERSIONS.get(wanted, resource.api_version)
    if version not in {None, "", expected}:
        raise bad_request(
            f"the API version in the data ({version}) does not match the expected API version "
            f"({expected})"
        )
    return obj


def _wrong_kind(wanted: str, found: str) -> ApiError:
    known = {"Secret", "ConfigMap", "Pod", "Service", "Namespace", "Node", "Endpoints"}
    if found in known:
        why = f"converting (v1.{found}) to (core.{wanted}): unknown conversion"
    else:
        why = (
            f'no kind "{found}" is registered for version "v1" in scheme '
            '"pkg/runtime/scheme.go:111"'
        )
    return bad_request(f'{found} in version "v1" cannot be handled as a {wanted}: {why}')


def parse_delete_options(body: bytes, query: dict[str, str]) -> tuple[DeleteOptions, bool]:
    """The options of a DELETE (its body counts before its query), and whether it is a dry run."""
    return read_delete_options(parse_json("DeleteOptions", body) if body.strip() else {}, query)


def read_delete_options(options: Any, query: dict[str, str]) -> tuple[DeleteOptions, bool]:
    """The same of options that have been parsed; raises ApiError 400."""
    if not isinstance(options, dict):
        raise bad_request("DeleteOptions must be an object")
    preconditions = options.get("preconditions") or {}
    grace = options.get("gracePeriodSeconds", query.get("gracePeriodSeconds"))
    propagation = options.get("propagationPolicy", query.get("propagationPolicy"))
    orphan = options.get("orphanDependents", query.get("orphanDependents"))
    if propagation is None and orphan is not None:
        propagation = "Orphan" if str(orphan).lower() == "true" else "Background"
    try:
        grace_s = None if grace in {None, ""} else int(grace)
        uid, version = preconditions.get("uid"), preconditions.get("resourceVersion")
    except (TypeError, ValueError, AttributeError) as error:
        raise bad_request(f"DeleteOptions cannot be handled: {error}") from error
    dry_run = options.get("dryRun") == ["All"] or query.get("dryRun") == "All"
    return DeleteOptions(propagation or None, grace_s, uid, version), dry_run
