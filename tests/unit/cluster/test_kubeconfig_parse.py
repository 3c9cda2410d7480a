"""What a kubeconfig says, what several say together, and what is refused."""

import base64
import json

import pytest
from kubeconfigs import SERVER, V1, V1BETA1, build, exec_user

from ktnet.cluster.kubeconfig.choose import choose_context
from ktnet.cluster.kubeconfig.model import ExecPlugin, Impersonation
from ktnet.cluster.kubeconfig.parse import merge_kubeconfigs, parse_kubeconfig
from ktnet.errors import UsageError

PATH = "/home/dev/.kube/config"


def parse(config, path=PATH):
    text = config if isinstance(config, str) else json.dumps(config)
    return parse_kubeconfig(text.encode(), path)


def choose(config, context=None):
    return choose_context(parse(config), context, PATH)


def refuse(config, context=None):
    with pytest.raises(UsageError) as raised:
        choose(config, context)
    return raised.value.message


def user_of(fields):
    return choose(build(fields)).user


def cluster_of(**fields):
    return choose(build(cluster={"server": SERVER, **fields})).cluster


def test_the_first_file_wins_entry_by_entry():
    """https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/"""
    first = build({"token": "first"}, name="a")
    second = build({"token": "second", "as": "x"}, name="a") | {"current-context": "b"}
    third = build({"token": "third"}, name="b", namespace="three")
    merged = merge_kubeconfigs(map(parse, (first, second, third)))
    assert merged.current_context == "a"
    assert merged.users["a"].token == "first"
    assert merged.users["a"].impersonation.user == ""  # nothing of the second one's
    assert choose_context(merged, "b", "x").namespace == "three"


def test_a_file_without_a_current_context_leaves_it_to_the_next():
    one, two = build(name="a"), build(name="b")
    one["current-context"] = ""
    assert merge_kubeconfigs(map(parse, (one, two))).current_context == "b"


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "{}", "clusters: null"])
def test_a_file_may_say_nothing(text):
    assert parse(text).contexts == {}


def test_paths_count_from_the_file_that_they_stand_in():
    user = user_of({"tokenFile": "token", "client-certificate": "/abs/cert", "client-key": "../k"})
    assert user.token_file == "/home/dev/.kube/token"
    assert user.client_certificate == "/abs/cert"
    assert user.client_key == "/home/dev/.kube/../k"
    assert cluster_of(**{"certificate-authority": "ca"}).certificate_authority.endswith("/.kube/ca")


def test_a_plugins_path_does_too_but_not_its_bare_name():
    assert user_of(exec_user("./bin/login")).exec.command == "/home/dev/.kube/./bin/login"
    assert user_of(exec_user("aws")).exec.command == "aws"


def test_a_plugin_whole():
    fields = exec_user(
        "aws",
        args=["eks", "get-token"],
        env=[{"name": "AWS_PROFILE", "value": "dev"}, {"name": "EMPTY"}],
        installHint="install it",
        provideClusterInfo=True,
        interactiveMode="Always",
    )
    assert user_of(fields).exec == ExecPlugin(
        command="aws",
        api_version=V1,
        args=("eks", "get-token"),
        env=(("AWS_PROFILE", "dev"), ("EMPTY", "")),
        install_hint="install it",
        provide_cluster_info=True,
        interactive_mode="Always",
    )


def test_silence_about_interaction_is_an_answer_only_in_v1beta1():
    plugin = {"exec": {"command": "aws", "apiVersion": V1BETA1}}
    assert user_of(plugin).exec.interactive_mode == "IfAvailable"
    plugin["exec"]["apiVersion"] = V1
    assert "interactiveMode" in refuse(build(plugin))


def test_whom_to_act_as():
    fields = {
        "token": "t",
        "as": "jane",
        "as-uid": "7",
        "as-groups": ["a", "b"],
        "as-user-extra": {"scopes": ["x", "y"]},
    }
    assert user_of(fields).impersonation == Impersonation(
        "jane", "7", ("a", "b"), (("scopes", ("x", "y")),)
    )


def test_data_is_base64_also_over_several_lines():
    lines = base64.encodebytes(b"x" * 100).decode()
    cluster = cluster_of(**{"certificate-authority-data": lines})
    assert cluster.certificate_authority_data == b"x" * 100


def test_what_a_cluster_tells_plugins():
    extensions = [
        {"name": "client.authentication.k8s.io/exec", "extension": {"audience": "x"}},
        {"name": "other", "extension": [1]},
    ]
    assert cluster_of(extensions=extensions).plugin_config == {"audience": "x"}


def test_a_date_is_text_and_tabs_are_fine_in_json():
    assert parse("current-context: 2024-01-01").current_context == "2024-01-01"
    assert parse('{\n\t"current-context": "x"\n}').current_context == "x"


def test_secrets_are_not_printed():
    fields = {"token": "S3CRET", "password": "S3CRET", "client-key-data": "UzNDUkVU"}
    fields |= exec_user("login", env=[{"name": "KEY", "value": "S3CRET"}])
    assert "S3CRET" not in repr(parse(build(fields)))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [b", "not valid YAML"),
        ("just text", "must be an object"),
        ("clusters: 7", "clusters must be a list"),
        ("contexts: [1]", "contexts[0] must be an object"),
        ("users: [{name: u, user: {token: 12345}}]", "users[u].user.token must be text"),
        ("users: [{name: u}, {name: u}]", "two entries of the name 'u'"),
        ("clusters: [{name: c, cluster: {insecure-skip-tls-verify: 'yes'}}]", "true or false"),
        ("users: [{name: u, user: {client-key-data: '%'}}]", "not base64"),
        ('users: [{name: u, user: {token: "a\\0"}}]', "NUL"),
        ("apiVersion: v2", "Config of v2"),
        ("kind: Secret", "Secret of v1"),
        ("!!python/object/apply:os.system [id]", "not valid YAML"),
        ("[" * 5000, "not valid YAML"),
        ("{" * 100000, "not valid YAML"),
    ],
)
def test_what_is_no_kubeconfig(text, says):
    with pytest.raises(UsageError) as raised:
        parse(text)
    assert raised.value.message.startswith(PATH)
    assert says in raised.value.message


def test_an_error_never_quotes_a_secret():
    with pytest.raises(UsageError) as raised:
        parse("users: [{name: u, user: {token: [S3CRET]}}]")
    assert "S3CRET" not in raised.value.message


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (build({"token": "t", "username": "u"}), "only one way"),
        (build({"client-certificate": "c"}), "without its key"),
        (build({"as-groups": ["a"]}), "no `as`"),
        (build({"auth-provider": {"name": "gcp"}}), "auth-provider 'gcp'"),
        (build(exec_user("")), "without its command"),
        (build(exec_user("x", version="")), "without its apiVersion"),
        (build(exec_user("x", version="a/v1alpha1")), "plugin of a/v1alpha1"),
        (build(exec_user("x", interactiveMode="")), "interactiveMode is none of"),
        (build(exec_user("x", env=[{"value": "x"}])), "variable that has no name"),
        (build(namespace="Not_A_Name"), "no namespace can be called"),
        (build() | {"clusters": []}, "no cluster"),
        (build() | {"users": []}, "no user"),
        (build() | {"current-context": ""}, "no context is chosen"),
        (build() | {"current-context": "gone"}, "no context 'gone'"),
        (
            build(
                cluster={
                    "server": SERVER,
                    "insecure-skip-tls-verify": True,
                    "certificate-authority": "x",
                }
            ),
            "both insecure-skip-tls-verify and",
        ),
    ],
)
def test_a_context_that_makes_no_sense(config, says):
    assert says in refuse(config)


def test_what_is_wrong_with_another_context_is_no_matter():
    config = build()
    config["users"].append({"name": "broken", "user": {"client-certificate": "c"}})
    config["users"].append({"name": "old", "user": exec_user("x", version="a/v1alpha1")})
    assert choose(config).context == "one"
