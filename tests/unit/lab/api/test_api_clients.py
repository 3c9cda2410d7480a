"""The API server as existing clients see it: kubernetes.aio, and kubectl where there is one."""

import asyncio
import json
import shutil

import pytest
from apilab import ADMIN, CERTIFICATES, Log, open_lab, run_pod
from kubernetes.aio import client, watch
from kubernetes.aio.client.exceptions import ApiException

from ktnet.lab.kubeconfig import build_kubeconfig

KUBECTL = shutil.which("kubectl")


async def use_client(scenario, tmp_path):
    async with open_lab() as lab:
        authority = tmp_path / "ca.pem"
        authority.write_text(CERTIFICATES.ca_pem)
        configuration = client.Configuration()
        configuration.host = lab.server.url
        configuration.ssl_ca_cert = str(authority)
        configuration.api_key = {"authorization": f"Bearer {ADMIN}"}
        async with client.ApiClient(configuration) as api:
            await scenario(lab, api)


def test_the_official_client_reads_what_it_wrote(tmp_path):
    async def scenario(lab, api):
        jobs, core = client.BatchV1Api(api), client.CoreV1Api(api)
        container = client.V1Container(name="shadow", image="lab/any:1", args=["a"])
        template = client.V1PodTemplateSpec(
            spec=client.V1PodSpec(restart_policy="OnFailure", containers=[container])
        )
        job = client.V1Job(
            metadata=client.V1ObjectMeta(name="j", labels={"a": "b"}),
            spec=client.V1JobSpec(template=template, ttl_seconds_after_finished=5),
        )
        made = await jobs.create_namespaced_job("demo", job)
        assert made.spec.selector.match_labels
        listed = await jobs.list_namespaced_job("demo", label_selector="a=b")
        assert [each.metadata.uid for each in listed.items] == [made.metadata.uid]
        await jobs.delete_namespaced_job("j", "demo", propagation_policy="Background")
        with pytest.raises(ApiException) as absent:
            await jobs.read_namespaced_job("j", "demo")
        assert (absent.value.status, json.loads(absent.value.body)["reason"]) == (404, "NotFound")
        ranges = await client.NetworkingV1Api(api).list_service_cidr()
        assert ranges.items[0].spec.cidrs == ["10.96.0.0/16"]
        run_pod(lab.store, "p")
        log = lab.runtime.logs["p", False] = Log()
        log.add(0, b"a line\n")
        assert await core.read_namespaced_pod_log("p", "demo") == "a line\n"

    asyncio.run(use_client(scenario, tmp_path))


def test_the_official_client_watches(tmp_path):
    async def scenario(lab, api):
        core = client.CoreV1Api(api)
        lab.store.create("configmaps", "demo", {"metadata": {"name": "a"}})
        seen = []
        async with watch.Watch().stream(core.list_namespaced_config_map, "demo") as events:
            async for event in events:
                seen.append((event["type"], event["object"].metadata.name))
                if len(seen) == 1:
                    lab.store.create("configmaps", "demo", {"metadata": {"name": "b"}})
                else:
                    break
        assert seen == [("ADDED", "a"), ("ADDED", "b")]

    asyncio.run(use_client(scenario, tmp_path))


DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "d"},
    "spec": {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {
            "metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "lab/any:1"}]},
        },
    },
}


@pytest.mark.skipif(KUBECTL is None, reason="there is no kubectl here")
def test_kubectl_does_its_everyday_work(tmp_path):
    async def scenario():
        async with open_lab() as lab:
            kubeconfig, manifest = tmp_path / "kubeconfig", tmp_path / "deployment.json"
            kubeconfig.write_text(
                build_kubeconfig(
                    lab="test", server=lab.server.url, ca_pem=CERTIFICATES.ca_pem, token=ADMIN
                )
            )
            manifest.write_text(json.dumps(DEPLOYMENT))

            async def kubectl(*arguments):
                process = await asyncio.create_subprocess_exec(
                    KUBECTL,
                    f"--kubeconfig={kubeconfig}",
                    f"--cache-dir={tmp_path}/cache",
                    "--namespace=demo",
                    *arguments,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.STDOUT,
                    env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
                )
                async with asyncio.timeout(30):
                    output, _ = await process.communicate()
                return process.returncode, output.decode()

            run_pod(lab.store, "p")
            log = lab.runtime.logs["p", False] = Log()
            log.add(0, b"a line\n")
            assert (await kubectl("apply", "--validate=false", f"-f{manifest}"))[0] == 0
            assert (await kubectl("apply", "--validate=false", f"-f{manifest}"))[1] == (
                "deployment.apps/d unchanged\n"
            )
            assert (await kubectl("scale", "deployment/d", "--replicas=3"))[0] == 0
            assert (await kubectl("set", "image", "deployment/d", "c=lab/other:2"))[0] == 0
            spec = lab.store.get("deployments", "demo", "d")["spec"]
            assert spec["replicas"] == 3
            assert spec["template"]["spec"]["containers"][0]["image"] == "lab/other:2"
            assert "lab/other:2" in (await kubectl("describe", "deployment", "d"))[1]
            assert (await kubectl("get", "pods", "-o", "name"))[1] == "pod/p\n"
            _, table = await kubectl("get", "pods")
            assert [line.split()[0] for line in table.splitlines()] == ["NAME", "p"]
            assert "RESTARTS" in table
            label = '{"metadata":{"labels":{"patched":"yes"}}}'
            assert await kubectl("patch", "pod", "p", "-p", label) == (0, "pod/p patched\n")
            assert (await kubectl("get", "pods", "-l", "patched=yes", "-o", "name"))[0] == 0
            phase = "--for=jsonpath={.status.phase}=Running"
            assert (await kubectl("wait", "pod/p", phase, "--timeout=10s"))[0] == 0
            assert (await kubectl("logs", "p"))[1] == "a line\n"
            assert await kubectl("exec", "p", "--", "sh", "-c", "echo hi; exit 3") == (
                3,
                "hi\ncommand terminated with exit code 3\n",
            )
            assert (await kubectl("delete", "deployment", "d"))[0] == 0
            assert not lab.store.has("deployments", "demo", "d")

    asyncio.run(scenario())
