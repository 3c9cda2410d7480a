"""Acting as somebody else: `kubectl --as`. Pure.

kubernetes.io/docs/reference/access-authn-authz/user-impersonation/. The right is `impersonate` on
users, groups, uids, userextras and serviceaccounts. Since Kubernetes 1.36 there are narrower ones
too (KEP-5284): `impersonate:user-info` on the user, with `impersonate-on:user-info:VERB` on what
is asked for; a refusal names the latter (recorded).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from urllib.parse import unquote

from ktnet.lab.api.authentication import ANONYMOUS, UNAUTHENTICATED, User, join_authenticated
from ktnet.lab.api.authorization import Attributes, Caller, build_denial
from ktnet.lab.api.errors import ApiError
from ktnet.lab.api.rbac.authorizer import ACCOUNT_PREFIX

USER = "impersonate-user"
GROUP = "impersonate-group"
UID = "impersonate-uid"
EXTRA = "impersonate-extra-"
PREFIX = "impersonate-"
AUTHENTICATION = "authentication.k8s.io"


def impersonate(headers: Iterable[tuple[str, str]], caller: Caller, wanted: Attributes) -> User:
    """Whose rights count; raises ApiError 403, or 500 for headers that name no user."""
    asked = [(key.lower(), value) for key, value in headers if key.lower().startswith(PREFIX)]
    if not asked:
        return caller.user
    name = next((value for key, value in asked if key == USER), "")
    groups = tuple(value for key, value in asked if key == GROUP)
    uid = next((value for key, value in asked if key == UID), "")
    extra = _read_extra(asked)
    if not name:
        message = "Internal error occurred: requested impersonation without impersonating a user"
        raise ApiError(500, "InternalError", message)
    questions = [_build_user_question(name), *_build_questions(groups, uid, extra)]
    if not all(caller.may(question) for question in questions) and not (
        _may_narrowly(caller, wanted, questions)
    ):
        raise build_denial(caller.user, replace(wanted, verb=_on(name, wanted.verb)))
    if name == ANONYMOUS.name:
        return User(name, groups or (UNAUTHENTICATED,), uid, extra)
    if not groups and name.startswith(ACCOUNT_PREFIX):
        groups = list_account_groups(name.removeprefix(ACCOUNT_PREFIX).partition(":")[0])
    return join_authenticated(User(name, groups, uid, extra))


def list_account_groups(namespace: str) -> tuple[str, ...]:
    """The groups of every ServiceAccount of a namespace."""
    return ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")


def _build_user_question(name: str) -> Attributes:
    if name.startswith(ACCOUNT_PREFIX):
        namespace, _, account = name.removeprefix(ACCOUNT_PREFIX).partition(":")
        return Attributes(
            "impersonate", resource="serviceaccounts", namespace=namespace, name=account
        )
    return Attributes("impersonate", resource="users", name=name)


def _build_questions(
    groups: tuple[str, ...], uid: str, extra: tuple[tuple[str, tuple[str, ...]], ...]
) -> list[Attributes]:
    questions = [Attributes("impersonate", resource="groups", name=group) for group in groups]
    if uid:
        questions.append(Attributes("impersonate", AUTHENTICATION, "uids", name=uid))
    questions += [
        Attributes("impersonate", AUTHENTICATION, "userextras", key, name=value)
        for key, values in extra
        for value in values
    ]
    return questions


def _may_narrowly(caller: Caller, wanted: Attributes, questions: list[Attributes]) -> bool:
    mode = _mode(questions[0])
    narrow = [
        replace(question, verb=f"impersonate:{mode}", group=AUTHENTICATION)
        for question in questions
    ]
    on = replace(wanted, verb=f"impersonate-on:{mode}:{wanted.verb}")
    return caller.may(on) and all(caller.may(question) for question in narrow)


def _mode(user: Attributes) -> str:
    return "serviceaccount" if user.resource == "serviceaccounts" else "user-info"


def _on(name: str, verb: str) -> str:
    return f"impersonate-on:{_mode(_build_user_question(name))}:{verb}"


def _read_extra(headers: list[tuple[str, str]]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    found: dict[str, tuple[str, ...]] = {}
    for key, value in headers:
        if key.startswith(EXTRA):
            name = unquote(key.removeprefix(EXTRA))
            found[name] = (*found.get(name, ()), value)
    return tuple(found.items())
