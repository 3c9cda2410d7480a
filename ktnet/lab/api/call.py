"""One request about a stored resource, and all that it says."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from aiohttp import web

from ktnet.lab.api.authorization import Caller
from ktnet.lab.api.body import parse_object
from ktnet.lab.api.errors import Obj
from ktnet.lab.api.fieldcheck import quote
from ktnet.lab.api.fieldvalidation import keep_known, refuse_patch
from ktnet.lab.api.media import Form, choose_form
from ktnet.lab.api.query import parse_field_validation
from ktnet.lab.api.resources import Resource
from ktnet.lab.api.target import Target


@dataclass(frozen=True)
class Call:
    """One request: about what, and all that it says."""

    request: web.BaseRequest
    target: Target
    resource: Resource
    body: bytes
    query: dict[str, str]
    caller: Caller
    heard: list[str] = field(default_factory=list)
    """What admission has to say of a write that it lets pass."""

    def check_may_create(self) -> None:
        """Where a PUT creates: raises ApiError 403."""
        wanted = replace(self.target.attributes(), verb="create")
        self.caller.check(wanted)

    @property
    def plural(self) -> str:
        """By which the store knows it."""
        return self.resource.key

    @property
    def namespace(self) -> str | None:
        # A namespace itself lies in no namespace, though its path names one.
        return self.target.namespace or None if self.plural != "namespaces" else None

    @property
    def name(self) -> str:
        return self.target.name

    @property
    def subresource(self) -> str | None:
        return self.target.subresource or None

    @property
    def content_type(self) -> str:
        return self.request.headers.get("Content-Type", "")

    @property
    def warnings(self) -> dict[str, str]:
        """Headers that go with every answer about this resource."""
        text = self.resource.deprecation
        return {"Warning": f'299 - "{text}"'} if text else {}

    @property
    def form(self) -> Form:
        """How the client wants to see objects; raises ApiError 406."""
        return choose_form(self.request.headers.get("Accept", ""))

    def parse_object(self, options_kind: str, kind: str = "") -> Obj:
        """The object in the body, with the fields that its kind (or `kind`) has; ApiError."""
        directive = parse_field_validation(self.query, options_kind)
        obj, warnings = parse_object(
            self.resource, self.content_type, self.body, kind=kind, directive=directive
        )
        self.heard.extend(warnings)
        return obj

    def decode_patched(self, patched: Obj) -> Obj:
        """Of a patch's result, the fields that its kind has; raises ApiError."""
        directive = parse_field_validation(self.query, "PatchOptions")
        if self.resource.custom:
            return patched
        kind = "Scale" if self.subresource == "scale" else self.resource.kind
        known: Obj
        known, complaints = keep_known(kind, patched)
        if complaints and directive == "Strict":
            raise refuse_patch(quote(quote(patched)), complaints)
        self.heard.extend(complaints if directive == "Warn" else [])
        return known
