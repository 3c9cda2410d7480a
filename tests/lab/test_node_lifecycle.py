"""How pods start, restart, fail and end, and what their status says meanwhile."""

import asyncio
import time

import pytest
from node_scene import NodeScene, is_ready, on_node, state_of, waits_for

from ktnet.lab.node import container

pytestmark = pytest.mark.lab

SLEEP = {"command": ["sleep", "600"]}
OBEY = "import signal, sys; signal.signal(15, lambda *_: sys.exit(7)); print('up', flush=True)"
OBEDIENT = {"command": ["python", "-c", f"{OBEY}; signal.pause()"]}


def terminated(pod):
    return state_of(pod).get("terminated")


@on_node
async def test_status_on_the_way_to_ready(node: NodeScene) -> None:
    seen = []
    with node.store.watch("pods") as events:
        created = node.create("plain", {"image": "lab/http-echo:1"})
        assert created["status"]["phase"] == "Pending"
        async for _, pod in events:
            status = pod["status"]
            conditions = {each["type"]: each["status"] for each in status.get("conditions", ())}
            kind = next(iter(state_of(pod)), None)
            seen.append(
                (
                    status["phase"],
                    kind,
                    conditions.get("PodReadyToStartContainers"),
                    "podIP" in status,
                )
            )
            if is_ready(pod):
                break
    assert seen == [
        ("Pending", None, None, False),
        ("Pending", "waiting", "False", False),
        ("Pending", "waiting", "True", False),
        ("Running", "running", "True", True),
    ]
    (status,) = pod["status"]["containerStatuses"]
    assert (status["ready"], status["started"], status["restartCount"]) == (True, True, 0)
    assert status["image"] == "docker.io/lab/http-echo:1"
    assert status["imageID"].startswith("sha256:")
    assert status["containerID"].startswith("containerd://")
    assert len(status["containerID"]) == len("containerd://") + 64
    assert pod["status"]["hostIP"] == "192.168.64.1"
    assert pod["status"]["qosClass"] == "BestEffort"


@on_node
async def test_exit_codes_by_restart_policy(node: NodeScene) -> None:
    for name, policy, code in (
        ("never-0", "Never", 0),
        ("never-3", "Never", 3),
        ("on-failure-0", "OnFailure", 0),
    ):
        node.create(name, {"command": ["sh", "-c", f"exit {code}"]}, restartPolicy=policy)
    for name, phase, code, reason in (
        ("never-0", "Succeeded", 0, "Completed"),
        ("never-3", "Failed", 3, "Error"),
        ("on-failure-0", "Succeeded", 0, "Completed"),
    ):
        pod = await node.wait_until(name, lambda pod, phase=phase: pod["status"]["phase"] == phase)
        assert terminated(pod)["exitCode"] == code
        assert terminated(pod)["reason"] == reason
        pod = await node.wait_until(
            name, lambda pod: pod["status"]["conditions"][0]["status"] == "False"
        )
        why = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}[phase]
        assert pod["status"]["conditions"][2]["reason"] == why
        assert pod["status"]["podIP"]
        node.delete(name)
        assert not node.exists(name)


@on_node
async def test_crashing_container_restarts_at_once_then_backs_off(node: NodeScene) -> None:
    container.FIRST_DELAY_S, container.SYNC_PERIOD_S = 0.6, 0.2
    script = "ls /keep | wc -l; mktemp -p /keep > /dev/null; exit 2"
    began_s = time.monotonic()
    node.create(
        "crash",
        {
            "command": ["sh", "-c", script],
            "volumeMounts": [{"name": "keep", "mountPath": "/keep"}],
        },
        restartPolicy="OnFailure",
        volumes=[{"name": "keep", "emptyDir": {}}],
    )

    def restarted(times):
        return lambda pod: (
            pod["status"].get("containerStatuses", [{}])[0].get("restartCount") == times
            and terminated(pod)
        )

    pod = await node.wait_until("crash", restarted(1))
    assert time.monotonic() - began_s < 0.6
    assert pod["status"]["phase"] == "Running"
    assert pod["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 2
    pod = await node.wait_until("crash", waits_for("CrashLoopBackOff"))
    assert pod["status"]["phase"] == "Running"
    uid = pod["metadata"]["uid"]
    assert state_of(pod)["waiting"]["message"] == (
        f"back-off 0s restarting failed container=main pod=crash_demo({uid})"
    )
    await node.wait_until("crash", restarted(2))
    assert time.monotonic() - began_s > 0.6
    # The volume outlives its container, and so does the log of the run before.
    assert node.read_log("crash") == "2\n"
    assert node.read_log("crash", previous=True) == "1\n"
    node.delete("crash", 0)
    assert not node.exists("crash")


@on_node
async def test_obedient_pod_ends_on_sigterm(node: NodeScene) -> None:
    await node.start("obedient", OBEDIENT, terminationGracePeriodSeconds=30)
    async for _, line in node.kubelet.log("demo", "obedient", "main").follow():
        assert line == b"up\n"
        break
    node.delete("obedient")
    assert "deletionTimestamp" in node.get("obedient")["metadata"]
    began_s = time.monotonic()
    pod = await node.wait_until_gone("obedient")
    assert time.monotonic() - began_s < 2
    assert terminated(pod)["exitCode"] == 7
    assert pod["status"]["phase"] == "Failed"
    assert pod["status"]["observedGeneration"] == pod["metadata"]["generation"] == 2


@on_node
async def test_pod_that_ignores_sigterm_is_killed_after_its_grace(node: NodeScene) -> None:
    # pid 1 without a handler: the kernel ignores SIGTERM for it.
    await node.start("stubborn", SLEEP)
    node.delete("stubborn")
    began_s = time.monotonic()
    pod = await node.wait_until_gone("stubborn")
    assert 0.9 < time.monotonic() - began_s < 3
    assert terminated(pod)["exitCode"] == 137
    assert terminated(pod)["reason"] == "Error"


@on_node
async def test_second_delete_shortens_the_grace(node: NodeScene) -> None:
    await node.start("patient", SLEEP, terminationGracePeriodSeconds=600)
    node.delete("patient")
    node.delete("patient", 1)
    await node.wait_until_gone("patient")


@on_node
async def test_pod_deleted_by_force_is_killed_and_its_successor_runs(node: NodeScene) -> None:
    first = await node.start("twin", SLEEP)
    node.delete("twin", 0)
    assert not node.exists("twin")
    second = await node.start("twin", SLEEP)
    assert second["status"]["podIP"] != first["status"]["podIP"]
    assert (await node.execute("twin", "hostname")) == "twin\n"


@on_node
async def test_unknown_image_is_pulled_in_vain(node: NodeScene) -> None:
    container.SYNC_PERIOD_S = 0.05
    node.create("nopull", {"image": "ktnet-shadow:none"})
    pod = await node.wait_until("nopull", waits_for("ErrImagePull"))
    message = state_of(pod)["waiting"]["message"]
    assert message.startswith(
        'failed to pull and unpack image "docker.io/library/ktnet-shadow:none": failed to resolve '
        'image: failed to do request: Head "https://registry-1.docker.io/v2/library/ktnet-shadow/'
    )
    pod = await node.wait_until("nopull", waits_for("ImagePullBackOff"))
    assert state_of(pod)["waiting"]["message"] == (
        f'Back-off pulling image "ktnet-shadow:none": ErrImagePull: {message}'
    )
    (status,) = pod["status"]["containerStatuses"]
    assert (pod["status"]["phase"], status["imageID"], status["started"]) == ("Pending", "", False)
    assert "containerID" not in status
    node.delete("nopull")
    await node.wait_until_gone("nopull")


@on_node
async def test_program_that_is_not_there(node: NodeScene) -> None:
    node.create("nothing", {"command": ["/no/such/program"]}, restartPolicy="Never")
    pod = await node.wait_until("nothing", terminated)
    assert terminated(pod)["exitCode"] == 128
    assert terminated(pod)["reason"] == "StartError"
    assert terminated(pod)["message"].endswith(
        'exec: "/no/such/program": stat /no/such/program: no such file or directory'
    )


@on_node
async def test_pods_deleted_at_any_moment_of_their_start_leave_nothing(node: NodeScene) -> None:
    for turns in range(12):
        node.create(f"brief-{turns}", {"image": "lab/udp-echo:1"})
        for _ in range(turns * 4):
            await asyncio.sleep(0)
        node.delete(f"brief-{turns}")
    for turns in range(12):
        if node.exists(f"brief-{turns}"):
            await node.wait_until_gone(f"brief-{turns}")
    assert node.store.list("pods") == []


@on_node
async def test_readiness_follows_the_probe(node: NodeScene) -> None:
    probe = {"exec": {"command": ["test", "-e", "/tmp/ready"]}, "periodSeconds": 1}
    node.create("probed", {**SLEEP, "readinessProbe": {**probe, "failureThreshold": 1}})
    pod = await node.wait_until("probed", lambda pod: "running" in state_of(pod))
    assert not is_ready(pod)
    await node.execute("probed", "touch", "/tmp/ready")
    await node.wait_until("probed", is_ready)
    await node.execute("probed", "rm", "/tmp/ready")
    pod = await node.wait_until("probed", lambda pod: not is_ready(pod))
    assert pod["status"]["phase"] == "Running"


@on_node
async def test_last_words_are_in_the_status(node: NodeScene) -> None:
    node.create(
        "writes",
        {"command": ["sh", "-c", "echo because > /dev/termination-log; exit 1"]},
        restartPolicy="Never",
    )
    node.create(
        "prints",
        {
            "command": ["sh", "-c", "echo to the log; exit 1"],
            "terminationMessagePolicy": "FallbackToLogsOnError",
        },
        restartPolicy="Never",
    )
    assert terminated(await node.wait_until("writes", terminated))["message"] == "because\n"
    assert terminated(await node.wait_until("prints", terminated))["message"] == "to the log\n"


@on_node
async def test_a_container_that_no_longer_lives_is_started_again(node: NodeScene) -> None:
    script = (
        "import signal, sys\n"
        "from http.server import HTTPServer, SimpleHTTPRequestHandler\n"
        "signal.signal(15, lambda *_: sys.exit(3))\n"
        "open('alive', 'w')\n"
        "HTTPServer(('', 8080), SimpleHTTPRequestHandler).serve_forever()\n"
    )
    soon = {"periodSeconds": 1, "failureThreshold": 1}
    hook = {"exec": {"command": ["sh", "-c", "echo hook > /keep/hook"]}}
    keep = {"volumeMounts": [{"name": "keep", "mountPath": "/keep"}], "workingDir": "/keep"}
    await node.start(
        "lively",
        {
            "command": ["python", "-c", script],
            "startupProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
            "livenessProbe": {"httpGet": {"port": 8080, "path": "/alive"}, **soon},
            "lifecycle": {"preStop": hook},
            **keep,
        },
        volumes=[{"name": "keep", "emptyDir": {}}],
    )
    pod = await node.wait_until("lively", is_ready)
    assert pod["status"]["containerStatuses"][0]["started"] is True
    await node.execute("lively", "rm", "/keep/alive")

    def is_restarted(pod):
        (status,) = pod["status"]["containerStatuses"]
        return status["restartCount"] >= 1 and status["lastState"]

    pod = await node.wait_until("lively", is_restarted)
    ended = pod["status"]["containerStatuses"][0]["lastState"]["terminated"]
    assert ended["exitCode"] == 3
    await node.wait_until("lively", is_ready)
    await node.execute("lively", "test", "-e", "/keep/hook")
    node.delete("lively", 0)


@on_node
async def test_ends_that_are_asked_for(node: NodeScene) -> None:
    """A hook comes before the signal, within the grace; what never starts is killed."""
    probe = {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1}
    grace = {"terminationGracePeriodSeconds": 1}
    # pid 1 without a handler: only SIGKILL ends it.
    node.create("late", {**SLEEP, "startupProbe": {**probe, **grace}}, restartPolicy="Never")
    hooked = (
        "trap 'cat /keep/hook > /dev/termination-log; exit 0' TERM; while :; do sleep 0.1; done"
    )
    keep = {"volumeMounts": [{"name": "keep", "mountPath": "/keep"}]}
    volumes = [{"name": "keep", "emptyDir": {}}]
    for name, grace_s, hook, said in (
        ("hooked", 30, {"exec": {"command": ["sh", "-c", "echo bye > /keep/hook"]}}, "bye\n"),
        ("sleepy", 1, {"sleep": {"seconds": 60}}, None),
    ):
        lifecycle = {"lifecycle": {"preStop": hook}, "command": ["sh", "-c", hooked]}
        whole = {"volumes": volumes, "terminationGracePeriodSeconds": grace_s}
        await node.start(name, {**lifecycle, **keep}, **whole)
        node.delete(name)
        pod = await node.wait_until_gone(name)
        assert terminated(pod).get("message") == said
    pod = await node.wait_until("late", terminated)
    assert terminated(pod)["exitCode"] == 137
    assert pod["status"]["phase"] == "Failed"
