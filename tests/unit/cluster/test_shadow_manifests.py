"""The manifests of a session, against the rules that clusters enforce."""

import math
import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from ktnet.cluster.shadow.manifests import (
    ShadowPort,
    ShadowSpec,
    build_job,
    build_lease,
    build_micro_time,
    build_renewal,
)
from ktnet.link.keys import new_client_key
from ktnet.shadow.arguments import ExposedPort as ShadowArgument
from ktnet.shadow.arguments import parse_arguments

KEY = "ssh-ed25519 AAAA"
SPEC = ShadowSpec(namespace="demo", image="registry.example/ktnet-shadow:1", authorized_key=KEY)
NOW = datetime(2026, 11, 23, 8, 5, 3, 42, tzinfo=UTC)


def violations_of_restricted(pod):
    """What PodSecurity "restricted" has against a pod spec.

    https://kubernetes.io/docs/concepts/security/pod-security-standards/
    """
    found = [field for field in ("hostNetwork", "hostPID", "hostIPC") if pod.get(field)]
    allowed = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "projected", "secret"}
    allowed.add("persistentVolumeClaim")
    for volume in pod.get("volumes", []):
        found += [f"volume {kind}" for kind in volume.keys() - allowed - {"name"}]
    outer = pod.get("securityContext", {})
    for container in pod["containers"] + pod.get("initContainers", []):
        own = container.get("securityContext", {})
        merged = outer | own
        if own.get("privileged"):
            found.append("privileged")
        if own.get("allowPrivilegeEscalation") is not False:
            found.append("allowPrivilegeEscalation")
        capabilities = own.get("capabilities", {})
        if "ALL" not in capabilities.get("drop", []):
            found.append("capabilities.drop")
        if set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
            found.append("capabilities.add")
        if merged.get("runAsNonRoot") is not True:
            found.append("runAsNonRoot")
        if merged.get("runAsUser") == 0:
            found.append("runAsUser")
        if merged.get("seccompProfile", {}).get("type") not in {"RuntimeDefault", "Localhost"}:
            found.append("seccompProfile")
        found += ["hostPort" for port in container.get("ports", []) if port.get("hostPort")]
    return found


def pod_of(spec):
    return build_job("ktnet-connect-abcde", spec)["spec"]["template"]["spec"]


@pytest.mark.parametrize("via", ["port-forward", "direct"])
def test_the_shadow_passes_restricted_podsecurity(via):
    pod = pod_of(ShadowSpec("demo", "image", KEY, via=via))
    assert violations_of_restricted(pod) == []
    assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True
    assert pod["automountServiceAccountToken"] is False


def test_the_checker_sees_an_offender():
    assert set(violations_of_restricted({"containers": [{}], "hostPID": True})) == {
        "hostPID",
        "allowPrivilegeEscalation",
        "capabilities.drop",
        "runAsNonRoot",
        "seccompProfile",
    }


def test_only_the_shadows_own_exit_ends_the_job():
    job = build_job("ktnet-connect-abcde", SPEC)["spec"]
    assert job["backoffLimit"] == 2**31 - 1
    assert job["ttlSecondsAfterFinished"] > 0
    assert "podFailurePolicy" not in job
    assert "activeDeadlineSeconds" not in job
    assert job["template"]["spec"]["restartPolicy"] == "OnFailure"


def test_every_object_is_found_by_its_labels():
    job = build_job("ktnet-connect-abcde", SPEC)
    lease = build_lease("ktnet-connect-abcde", "demo", "me@here", NOW)
    for metadata in (job["metadata"], lease["metadata"], job["spec"]["template"]["metadata"]):
        assert (
            metadata["labels"].items()
            >= {
                "app.kubernetes.io/name": "ktnet-shadow",
                "app.kubernetes.io/managed-by": "ktnet",
                "ktnet.dev/session": "ktnet-connect-abcde",
                "ktnet.dev/command": "connect",
            }.items()
        )
    for metadata in (job["metadata"], lease["metadata"]):
        assert metadata["name"] == "ktnet-connect-abcde"
        assert metadata["namespace"] == "demo"


def test_labels_are_valid_and_sidecars_are_declined():
    metadata = build_job("ktnet-connect-abcde", SPEC)["spec"]["template"]["metadata"]
    for value in metadata["labels"].values():
        assert re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?", value)
    assert metadata["labels"]["sidecar.istio.io/inject"] == "false"
    assert metadata["annotations"]["linkerd.io/inject"] == "disabled"


def test_the_shadow_listens_on_loopback_unless_dialled_directly():
    def bind(via):
        container = pod_of(ShadowSpec("demo", "image", KEY, via=via))["containers"][0]
        args = container["args"]
        return args[args.index("--bind") + 1], container.get("env")

    assert bind("port-forward") == ("127.0.0.1", None)
    address, env = bind("direct")
    assert address == "$(POD_IP)"
    assert env == [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]


def test_the_spec_reaches_the_container():
    spec = ShadowSpec("demo", "image:1", KEY, image_pull_secrets=("one", "two"), idle_s=90)
    pod = pod_of(spec)
    container = pod["containers"][0]
    assert container["image"] == "image:1"
    assert container["imagePullPolicy"] == "IfNotPresent"
    assert container["args"][:2] == ["--authorized-key", KEY]
    assert container["args"][-2:] == ["--idle", "90"]
    assert pod["imagePullSecrets"] == [{"name": "one"}, {"name": "two"}]
    assert "command" not in container
    assert "imagePullSecrets" not in pod_of(SPEC)


def test_the_lease_says_who_and_when():
    lease = build_lease("ktnet-connect-abcde", "demo", "me@here", NOW)
    assert lease["spec"]["holderIdentity"] == "me@here"
    assert lease["spec"]["renewTime"] == lease["spec"]["acquireTime"]


def test_times_have_six_fractional_digits():
    assert build_micro_time(NOW) == "2026-11-23T08:05:03.000042Z"
    assert build_renewal(NOW) == {"spec": {"renewTime": "2026-11-23T08:05:03.000042Z"}}


def test_what_the_user_asks_for_is_on_job_and_pod_and_takes_nothing_of_ours():
    spec = replace(
        SPEC,
        service_account="builder",
        node_selector=(("disk", "ssd"),),
        labels=(("team", "a"), ("ktnet.dev/session", "another")),
        annotations=(("note", "x"), ("sidecar.istio.io/inject", "true")),
        resources=(("cpu", "1"), ("memory", "1Gi")),
    )
    job = build_job("ktnet-connect-abcde", spec)
    template = job["spec"]["template"]
    for metadata in (job["metadata"], template["metadata"]):
        assert metadata["labels"]["team"] == "a"
        assert metadata["labels"]["ktnet.dev/session"] == "ktnet-connect-abcde"
        assert metadata["annotations"]["note"] == "x"
    assert template["metadata"]["annotations"]["sidecar.istio.io/inject"] == "true"
    pod = template["spec"]
    assert (pod["serviceAccountName"], pod["nodeSelector"]) == ("builder", {"disk": "ssd"})
    assert pod["automountServiceAccountToken"] is False
    wanted = {"cpu": "1", "memory": "1Gi"}
    assert pod["containers"][0]["resources"] == {"requests": wanted, "limits": wanted}


EXPOSING = replace(
    SPEC,
    command="exchange",
    ports=(ShadowPort(80, "http"), ShadowPort(7023, origin="away"), ShadowPort(9, origin="always")),
    pod_labels=(("app", "tomcat"), ("app.kubernetes.io/name", "tomcat")),
    hostname="db-0",
    subdomain="db",
    idle_s=0,
)


def test_a_shadow_that_exposes_ports_passes_restricted_podsecurity_too():
    assert violations_of_restricted(pod_of(EXPOSING)) == []


def test_a_shadow_that_exposes_ports_is_asked_for_its_own_health():
    pod = pod_of(EXPOSING)
    (container,) = pod["containers"]
    assert container["readinessProbe"]["tcpSocket"] == {"port": 7024}  # 7023 is the user's
    assert container["ports"] == [
        {"containerPort": 80, "protocol": "TCP", "name": "http"},
        {"containerPort": 7023, "protocol": "TCP"},
        {"containerPort": 9, "protocol": "TCP"},
    ]
    assert pod["securityContext"]["sysctls"] == [
        {"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}
    ]
    assert (pod["hostname"], pod["subdomain"]) == ("db-0", "db")
    assert pod["terminationGracePeriodSeconds"] > 28


def test_the_shadow_understands_what_its_manifest_says():
    public_key = new_client_key()[1]
    arguments = pod_of(replace(EXPOSING, authorized_key=public_key))["containers"][0]["args"]
    found = parse_arguments([each.replace("$(POD_IP)", "10.244.0.9") for each in arguments])
    assert found.exposed == (
        ShadowArgument(80),
        ShadowArgument(7023, ("ktnet-connect-abcde-origin.demo.svc", 7023)),
        ShadowArgument(9, ("ktnet-connect-abcde-origin.demo.svc", 9), always=True),
    )
    assert (found.expose_bind, found.health_port, found.idle_s) == ("10.244.0.9", 7024, math.inf)


def test_the_pods_in_whose_place_it_stands_give_it_their_labels():
    labels = build_job("ktnet-exchange-abcde", EXPOSING)["spec"]["template"]["metadata"]["labels"]
    assert labels["app"] == labels["app.kubernetes.io/name"] == "tomcat"
    assert labels["ktnet.dev/session"] == "ktnet-exchange-abcde"
    assert labels["ktnet.dev/command"] == "exchange"


def test_a_shadow_without_ports_is_asked_for_nothing():
    (container,) = pod_of(SPEC)["containers"]
    assert "readinessProbe" not in container
    assert "ports" not in container
