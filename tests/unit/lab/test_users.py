"""Users of a lab who may do just what they were given."""

from pathlib import Path

import pytest
import yaml

from ktnet.errors import UsageError
from ktnet.lab.api.authorization import Attributes
from ktnet.lab.api.rbac.authorizer import Rbac
from ktnet.lab.api.store import Store
from ktnet.lab.api.tls import build_certificates
from ktnet.lab.launch import parse_roles
from ktnet.lab.users import Users, build_user_handler

READ = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
WRITE = {**READ, "verbs": ["delete"]}


@pytest.fixture(name="scene")
def build_scene(tmp_path):
    store = Store()
    store.create("namespaces", None, {"metadata": {"name": "demo"}})
    tokens, certificates = {}, build_certificates(["127.0.0.1"])
    users = Users(store, tokens, certificates, tmp_path / "users", lab="a", server="https://x")
    rbac = Rbac(store)

    def make(*roles, name="ada", certificate=False, groups=()):
        request = {"user": name, "roles": list(roles), "groups": list(groups)}
        path = build_user_handler(users)({**request, "certificate": certificate})
        assert (tmp_path / "users").stat().st_mode & 0o777 == 0o700
        config = yaml.safe_load(Path(path).read_text())
        return config["users"][0]["user"]

    def may(credentials, verb, namespace="demo"):
        wanted = Attributes(verb, resource="pods", namespace=namespace)
        return rbac(tokens[credentials["token"]], wanted)

    return make, may, tokens, store


def test_a_user_may_do_what_was_given_and_no_more(scene):
    make, may, tokens, _ = scene
    ada = make({"kind": "Role", "rules": [READ]})
    eve = make({"kind": "ClusterRole", "rules": [WRITE]}, name="eve", groups=["ops"])
    assert (may(ada, "get"), may(ada, "delete"), may(ada, "get", "other")) == (True, False, False)
    assert (may(eve, "get"), may(eve, "delete"), may(eve, "delete", "")) == (False, True, True)
    assert tokens[eve["token"]].groups == ("ops",)
    assert not may(make(name="bob"), "get")


def test_the_same_user_anew_has_new_rights_and_a_new_token(scene):
    make, may, tokens, store = scene
    old = make({"rules": [READ]}, {"rules": [READ]})
    new = make({"rules": [WRITE]})
    assert old["token"] not in tokens
    assert (may(new, "get"), may(new, "delete")) == (False, True)
    assert len(store.list("roles")) == len(store.list("rolebindings")) == 1


def test_a_certificate_instead_of_a_token(scene):
    make, _, tokens, _ = scene
    credentials = make(certificate=True)
    assert set(credentials) == {"client-certificate-data", "client-key-data"}
    assert tokens == {}


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("../x", {"rules": []}),
        ("", {"rules": []}),
        ("ada", {"kind": "Pod"}),
        ("ada", {"rules": [{"verbs": []}]}),
        ("ada", {"rules": 3}),
        ("ada", {"rules": [READ], "metadata": {"namespace": "nosuch"}}),
        ("ada", "text"),
    ],
)
def test_what_makes_no_user(scene, name, role):
    make, _, tokens, store = scene
    with pytest.raises(ValueError, match=r"is|must|are|found|cannot|Role"):
        make(role, name=name)
    assert tokens == {}
    assert store.list("roles") == store.list("rolebindings") == []


def test_roles_come_from_yaml():
    one = {"kind": "Role", "rules": [READ]}
    assert parse_roles(yaml.safe_dump_all([one, {"kind": "List", "items": [one]}])) == [one, one]
    assert parse_roles("") == []
    for text in ("a: [", "- 1", "text", "items: 3"):
        with pytest.raises(UsageError):
            parse_roles(text)
