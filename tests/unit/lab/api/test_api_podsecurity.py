"""Pod security: what the levels forbid, what labels do, and whom it warns."""

from __future__ import annotations

import asyncio
import copy

import pytest
from apilab import build_store, open_lab

from ktnet.lab.api.errors import ApiError
from ktnet.lab.api.podsecurity.admission import Level

PREFIX = "pod-security.kubernetes.io/"
GOOD = {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [
        {
            "name": "main",
            "image": "i",
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            },
        }
    ],
}


def spec(*, container=None, pod=None, **rest):
    """GOOD, with something else in its container's and its own securityContext."""
    changed = copy.deepcopy(GOOD)
    changed["securityContext"].update(pod or {})
    context = changed["containers"][0]["securityContext"]
    context.update(container or {})
    return {**changed, **rest}


def evaluate(level, pod_spec):
    return [str(finding) for finding in Level(level, "latest").evaluate(pod_spec)]


def test_what_asks_for_nothing_passes_all_levels():
    for level in ("privileged", "baseline", "restricted"):
        assert evaluate(level, GOOD) == []


@pytest.mark.parametrize(
    "bad",
    [
        spec(container={"privileged": True}),
        spec(container={"capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN"]}}),
        spec(container={"procMount": "Unmasked"}),
        spec(pod={"seLinuxOptions": {"type": "spc_t", "user": "u"}}),
        spec(pod={"appArmorProfile": {"type": "Unconfined"}}),
        spec(pod={"seccompProfile": {"type": "Unconfined"}}),
        spec(pod={"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}),
        spec(pod={"windowsOptions": {"hostProcess": True}}),
        spec(hostPID=True),
        spec(volumes=[{"name": "v", "hostPath": {"path": "/"}}]),
    ],
)
def test_baseline_forbids_what_reaches_out_of_the_pod(bad):
    assert evaluate("privileged", bad) == []
    assert len(evaluate("baseline", bad)) == 1
    assert evaluate("restricted", bad)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (spec(container={"allowPrivilegeEscalation": True}),
         ('allowPrivilegeEscalation != false (container "main" must set '
          "securityContext.allowPrivilegeEscalation=false)")),
        (spec(container={"runAsNonRoot": False}),
         ('runAsNonRoot != true (container "main" must not set '
          "securityContext.runAsNonRoot=false)")),
        (spec(pod={"runAsUser": 0}, container={"runAsUser": 0}),
         'runAsUser=0 (pod and container "main" must not set runAsUser=0)'),
        (spec(volumes=[{"name": "a", "nfs": {}}, {"name": "b", "emptyDir": {}}]),
         'restricted volume types (volume "a" uses restricted volume type "nfs")'),
        (spec(container={"capabilities": {"drop": ["CHOWN"]}}),
         ('unrestricted capabilities (container "main" must set '
          'securityContext.capabilities.drop=["ALL"])')),
    ],
)  # fmt: skip
def test_restricted_forbids_more(bad, said):
    assert evaluate("baseline", bad) == []
    assert evaluate("restricted", bad) == [said]


def test_an_app_armor_profile_may_be_an_annotation():
    """As k8s.io/pod-security-admission has it in its own tests, in these words."""
    prefix = "container.apparmor.security.beta.kubernetes.io/"
    allowed = {f"{prefix}a": "", f"{prefix}b": "runtime/default", f"{prefix}c": "localhost/foo"}
    bad = {f"{prefix}e": "unconfined", f"{prefix}d": "unknown"}
    level = Level("restricted", "latest")
    assert level.evaluate(GOOD, {**allowed, "note": "unconfined"}) == []
    (finding,) = level.evaluate(GOOD, {**allowed, **bad})
    assert str(finding) == (
        f'forbidden AppArmor profiles ({prefix}d="unknown", {prefix}e="unconfined")'
    )
    assert Level("privileged", "latest").evaluate(GOOD, bad) == []


def test_several_containers_are_named_together():
    context = {"privileged": True}
    containers = [{"name": name, "securityContext": context} for name in ("a", "b")]
    assert evaluate(
        "baseline", {"containers": containers[:1], "initContainers": containers[1:]}
    ) == ['privileged (containers "b", "a" must not set securityContext.privileged=true)']


def build_labelled(**labels):
    store = build_store()
    meta = {"labels": {PREFIX + key.replace("_", "-"): value for key, value in labels.items()}}
    store.patch("namespaces", None, "demo", {"metadata": meta})
    return store


def test_controllers_are_refused_too_and_the_version_is_named():
    store = build_labelled(enforce="baseline", enforce_version="v1.30")
    pod = {"metadata": {"name": "p"}, "spec": spec(hostIPC=True)}
    with pytest.raises(ApiError, match=r'violates PodSecurity "baseline:v1.30": host namespaces'):
        store.create("pods", "demo", pod)
    assert store.create("pods", "demo", {**pod, "spec": GOOD})
    store.patch("namespaces", None, "demo", {"metadata": {"labels": {f"{PREFIX}enforce": None}}})
    assert store.create("pods", "demo", {**pod, "metadata": {"name": "q"}})


def test_pods_that_are_there_already_may_go_on_and_end():
    store = build_store()
    store.create("pods", "demo", {"metadata": {"name": "p"}, "spec": spec(hostIPC=True)})
    meta = {"labels": {f"{PREFIX}enforce": "restricted"}}
    store.patch("namespaces", None, "demo", {"metadata": meta})
    store.patch("pods", "demo", "p", {"spec": {"nodeName": "n"}}, subresource="binding")
    store.patch("pods", "demo", "p", {"status": {"phase": "Running"}}, subresource="status")
    store.patch("pods", "demo", "p", {"metadata": {"labels": {"a": "b"}}})
    store.delete("pods", "demo", "p", grace_s=0)


def test_no_level_is_refused():
    with pytest.raises(ApiError, match="must be one of privileged, baseline, restricted") as found:
        build_labelled(enforce="strict")
    assert found.value.status == 422


def test_warnings_go_to_who_writes():
    async def scenario(lab, warned):
        path, name = "/api/v1/namespaces/demo/pods", iter("abcdef")

        async def create(pod_spec, where=path, **extra):
            body = {"metadata": {"name": next(name)}, "spec": pod_spec, **extra}
            status, _ = await lab.ask("POST", where, body)
            return status, lab.headers.getall("Warning", [])

        assert await create(GOOD) == (201, [])
        status, (warning,) = await create(spec(hostPID=True))
        assert (status, warned in warning) == (201, True)
        job = {"template": {"spec": {**spec(hostPID=True), "restartPolicy": "Never"}}}
        status, (warning,) = await create(job, "/apis/batch/v1/namespaces/demo/jobs")
        assert (status, warned in warning) == (201, True)

    async def run():
        async with open_lab(build_labelled(warn="baseline", audit="restricted")) as lab:
            await scenario(lab, r"would violate PodSecurity \"baseline:latest\": host namespaces")

    asyncio.run(run())
