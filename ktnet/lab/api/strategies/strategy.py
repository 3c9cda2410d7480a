"""What the API server does to objects of one kind on their way in.

Kubernetes calls the same thing a strategy (k8s.io/apiserver/pkg/registry/rest). Objects given to
these methods are copies that they may change; `old` is never changed.
"""

from __future__ import annotations

from typing import ClassVar

from ktnet.lab.api.errors import Obj
from ktnet.lab.api.fieldcheck import FieldCheck
from ktnet.lab.api.names import check_label, check_subdomain


class Strategy:
    """The rules of a kind that has none of its own."""

    name_is_label: ClassVar[bool] = False
    """Its name must be an RFC 1123 label, else a subdomain."""
    creates_on_update: ClassVar[bool] = False
    """A PUT of a name that does not exist creates it."""
    updates_unconditionally: ClassVar[bool] = True
    """A PUT needs no resourceVersion."""
    returns_deleted: ClassVar[bool] = False
    """DELETE answers with the object, not with a Status."""
    has_status: ClassVar[bool] = False
    """`status` is a subresource: the main path leaves it alone."""
    keeps_status_on_create: ClassVar[bool] = False
    has_generation: ClassVar[bool] = False
    orphans_by_default: ClassVar[bool] = False
    """A DELETE that does not say so keeps the dependents."""
    checks_changes_first: ClassVar[bool] = False
    """Of several causes, those that must not change come before what must always hold."""
    annotations_generate: ClassVar[bool] = False
    """A change of annotations counts as a new generation too."""
    delete_warning: ClassVar[str] = ""
    """The Warning header of such a DELETE."""

    def default(self, obj: Obj) -> None:
        """Fills in what the client left out."""

    def prepare_create(self, obj: Obj) -> None:
        """What only the server decides about a new object: its first status, for one."""
        if self.has_status and not self.keeps_status_on_create:
            obj["status"] = {}

    def check(self, check: FieldCheck, obj: Obj) -> None:
        """What must hold for every object of the kind."""

    def check_create(self, check: FieldCheck, obj: Obj) -> None:
        """What must hold for a new object only."""

    def check_update(self, check: FieldCheck, new: Obj, old: Obj) -> None:
        """What must not change."""

    def check_name(self, check: FieldCheck, name: str) -> None:
        if self.name_is_label:
            check_label(check, "metadata.name", name)
        else:
            check_subdomain(check, "metadata.name", name)

    def prepare_update(self, new: Obj, old: Obj) -> None:
        """What an update can't touch is taken from the old object."""
        if self.has_status:
            keep(new, old, "status")

    def prepare_status(self, new: Obj, old: Obj) -> None:
        """An update of `status` takes nothing but the status."""
        status = new.get("status", {})
        new.clear()
        new.update(old, status=status)

    def spec_of(self, obj: Obj) -> Obj:
        """The part whose changes count as a new generation."""
        spec: Obj = obj.get("spec", {})
        return spec

    def is_new_generation(self, new: Obj, old: Obj) -> bool:
        if not self.has_generation:
            return False
        if self.annotations_generate:
            notes = [each["metadata"].get("annotations") or {} for each in (new, old)]
            if notes[0] != notes[1]:
                return True
        return self.spec_of(new) != self.spec_of(old)

    def present(self, obj: Obj) -> None:
        """Writes the nulls and empty fields that a real API server's encoder writes."""


def keep(new: Obj, old: Obj, key: str) -> None:
    """Takes one member over from the old object."""
    if key in old:
        new[key] = old[key]
    else:
        new.pop(key, None)


def put_default(obj: Obj, **fields: object) -> None:
    """Sets the members that are absent."""
    for key, value in fields.items():
        obj.setdefault(key, value)
