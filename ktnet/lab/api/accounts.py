"""ServiceAccounts' tokens: made, read, and taken for what they are worth.

kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#bound-service-account-tokens;
claims as k8s.io/kubernetes/pkg/serviceaccount/claims.go, JSON Web Tokens of RFC 7519 signed with
ES256 (RFC 7518 section 3.4). The key lives in memory: a lab's tokens end with it.
"""

from __future__ import annotations

import base64
import binascii
import json
import uuid
from datetime import datetime, timedelta
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from ktnet.lab.api.authentication import User
from ktnet.lab.api.errors import Cause, Obj, conflict, invalid
from ktnet.lab.api.impersonation import list_account_groups
from ktnet.lab.api.metadata import Clock, format_time
from ktnet.lab.api.rbac.authorizer import ACCOUNT_PREFIX
from ktnet.lab.api.store import Store

ISSUER = "https://kubernetes.default.svc.cluster.local"
AUDIENCE = ISSUER
"""The API server's own, where nobody asks for another one (recorded)."""
LEAST_LIFETIME_S = 600
MOST_LIFETIME_S = 2**32
DEFAULT_LIFETIME_S = 3600
_NUMBER_BYTES = 32
CREDENTIAL_ID = "authentication.kubernetes.io/credential-id"


class Accounts:
    """Issues the tokens of a store's ServiceAccounts, and knows them again."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._key = ec.generate_private_key(ec.SECP256R1())

    def answer_request(self, namespace: str, name: str, request: Obj) -> Obj:
        """A TokenRequest with its token; raises ApiError 404, 409 or 422."""
        account = self._store.get("serviceaccounts", namespace, name)
        spec = request.get("spec") or {}
        lifetime_s = spec.get("expirationSeconds") or DEFAULT_LIFETIME_S
        _check_lifetime(lifetime_s)
        audiences = list(spec.get("audiences") or [AUDIENCE])
        bound = spec.get("boundObjectRef")
        pod = self._find_bound(namespace, bound) if bound is not None else None
        token = self.issue(account, audiences, lifetime_s, pod)
        meta = account["metadata"]
        now = self._clock()
        return {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "uid": meta["uid"],
                "creationTimestamp": format_time(now),
            },
            "spec": {
                "audiences": audiences,
                "expirationSeconds": lifetime_s,
                "boundObjectRef": bound,
            },
            "status": {
                "token": token,
                "expirationTimestamp": format_time(now + timedelta(seconds=lifetime_s)),
            },
        }

    def issue(self, account: Obj, audiences: list[str], lifetime_s: int, pod: Obj | None) -> str:
        """A token of that account, of use as long as the pod (if any) is there."""
        meta, now_s = account["metadata"], int(self._clock().timestamp())
        about: Obj = {
            "namespace": meta["namespace"],
            "serviceaccount": {"name": meta["name"], "uid": meta["uid"]},
        }
        if pod is not None:
            about["pod"] = {key: pod["metadata"][key] for key in ("name", "uid")}
            if pod["spec"].get("nodeName"):
                about["node"] = {"name": pod["spec"]["nodeName"]}
        claims = {
            "aud": audiences,
            "exp": now_s + lifetime_s,
            "iat": now_s,
            "iss": ISSUER,
            "jti": str(uuid.uuid4()),
            "kubernetes.io": about,
            "nbf": now_s,
            "sub": f"{ACCOUNT_PREFIX}{meta['namespace']}:{meta['name']}",
        }
        signed = f"{_encode(_dump({'alg': 'ES256', 'typ': 'JWT'}))}.{_encode(_dump(claims))}"
        first, second = decode_dss_signature(
            self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256()))
        )
        signature = b"".join(each.to_bytes(_NUMBER_BYTES, "big") for each in (first, second))
        return f"{signed}.{_encode(signature)}"

    def read_token(self, token: str) -> User | None:
        """Whose token that is, where it is for the API server and still good."""
        found = self.check_token(token, [AUDIENCE])
        return found[0] if found is not None else None

    def check_token(self, token: str, audiences: list[str]) -> tuple[User, list[str]] | None:
        """Whose it is and for which of the audiences (none: the API server's)."""
        claims = self._verify(token)
        if claims is None:
            return None
        common = [each for each in audiences or [AUDIENCE] if each in claims["aud"]]
        now = self._clock()
        if not common or not claims["nbf"] <= now.timestamp() < claims["exp"]:
            return None
        user = self._find_user(claims, now)
        return (user, common) if user is not None else None

    def _verify(self, token: str) -> dict[str, Any] | None:
        """The claims of a token that this server signed; the bytes are anybody's."""
        signed, _, signature = token.rpartition(".")
        try:
            raw = _decode(signature)
            if len(raw) != 2 * _NUMBER_BYTES or signed.count(".") != 1:
                return None
            first, second = raw[:_NUMBER_BYTES], raw[_NUMBER_BYTES:]
            self._key.public_key().verify(
                encode_dss_signature(int.from_bytes(first, "big"), int.from_bytes(second, "big")),
                signed.encode(),
                ec.ECDSA(hashes.SHA256()),
            )
            return dict(json.loads(_decode(signed.partition(".")[2])))
        except (InvalidSignature, binascii.Error, ValueError):
            return None

    def _find_user(self, claims: dict[str, Any], now: datetime) -> User | None:
        """The account of the claims, if it and what it is bound to are the same as then."""
        about = claims["kubernetes.io"]
        namespace, account = about["namespace"], about["serviceaccount"]
        if not self._is_there("serviceaccounts", namespace, account, now):
            return None
        extra = {CREDENTIAL_ID: (f"JTI={claims['jti']}",)}
        pod = about.get("pod")
        if pod is not None:
            if not self._is_there("pods", namespace, pod, now):
                return None
            extra["authentication.kubernetes.io/pod-name"] = (pod["name"],)
            extra["authentication.kubernetes.io/pod-uid"] = (pod["uid"],)
        if "node" in about:
            extra["authentication.kubernetes.io/node-name"] = (about["node"]["name"],)
        groups = list_account_groups(namespace)
        return User(claims["sub"], groups, account["uid"], tuple(extra.items()))

    def _is_there(self, plural: str, namespace: str, named: Obj, now: datetime) -> bool:
        if not self._store.has(plural, namespace, named["name"]):
            return False
        meta = self._store.get(plural, namespace, named["name"])["metadata"]
        if meta["uid"] != named["uid"]:
            return False
        # A minute's grace after the end of what it is bound to, for the last words.
        deleted = meta.get("deletionTimestamp")
        return deleted is None or now - datetime.fromisoformat(deleted) < timedelta(seconds=60)

    def _find_bound(self, namespace: str, bound: Obj) -> Obj:
        """The pod that a token is bound to; raises ApiError 404, 409 or 422."""
        if (bound.get("kind"), bound.get("apiVersion")) != ("Pod", "v1"):
            shown = f"{bound.get('apiVersion')}, Kind={bound.get('kind')}"
            message = f"cannot bind token for serviceaccount to type {shown}"
            cause = Cause("FieldValueInvalid", message, "spec.boundObjectRef")
            raise invalid("authentication.k8s.io", "TokenRequest", "", [cause])
        pod = self._store.get("pods", namespace, bound.get("name") or "")
        uid = pod["metadata"]["uid"]
        if bound.get("uid") not in {None, "", uid}:
            why = (
                f"the UID in the bound object reference ({bound['uid']}) does not match the UID in "
                f"record. The object might have been deleted and then recreated"
            )
            raise conflict("", "pods", pod["metadata"]["name"], why)
        return pod


def _check_lifetime(lifetime_s: int) -> None:
    field = "spec.expirationSeconds"
    if lifetime_s < LEAST_LIFETIME_S:
        why = "may not specify a duration less than 10 minutes"
    elif lifetime_s > MOST_LIFETIME_S:
        why = "may not specify a duration larger than 2^32 seconds"
    else:
        return
    cause = Cause("FieldValueInvalid", f"Invalid value: {lifetime_s}: {why}", field)
    raise invalid("authentication.k8s.io", "TokenRequest", "", [cause])


def _dump(document: Obj) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
