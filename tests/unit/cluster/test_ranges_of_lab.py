"""The ranges of a cluster, with all rights and with fewer, from the lab's API server."""

import asyncio
from ipaddress import IPv4Address, IPv4Network

import pytest
from forward_peer import target_of
from lab_cluster import open_cluster

from ktnet.cluster.cidrs import api_server_addresses, find_cluster_ranges
from ktnet.cluster.server.api import open_api
from ktnet.cluster.shadow.manifests import ShadowSpec
from ktnet.cluster.shadow.session import open_shadow_session
from ktnet.errors import ClusterUnreachable, UsageError

SERVICES = (IPv4Network("10.96.0.0/16"),)
NODES = (IPv4Network("10.244.0.0/24"),)


def find(*denied, pod_ip=""):
    async def main():
        async with open_cluster() as cluster:
            if pod_ip:
                pod = {
                    "metadata": {"name": "p"},
                    "spec": {"nodeName": "node-0", "containers": [{"name": "c", "image": "i"}]},
                }
                cluster.kubelet.pod_ip = pod_ip
                cluster.kubelet.report(cluster.store.create("pods", "demo", pod))
            cluster.denied.update(denied)
            ranges = await find_cluster_ranges(cluster.api, "demo")
            assert not cluster.store.list("services")
            return ranges

    return asyncio.run(main())


def test_with_all_rights_the_objects_tell():
    ranges = find()
    assert (ranges.services, ranges.pods, ranges.warnings) == (SERVICES, NODES, ())
    assert ranges.evidence == (
        "Services 10.96.0.0/16: ServiceCIDR objects",
        "pods 10.244.0.0/24: podCIDRs of the nodes",
    )


def test_without_servicecidrs_a_refusal_tells():
    ranges = find(("list", "servicecidrs"))
    assert ranges.services == SERVICES
    assert "Services 10.96.0.0/16: named by the API server in a refusal" in ranges.evidence
    assert ranges.warnings == ()


def test_without_either_the_user_is_told():
    ranges = find(("list", "servicecidrs"), ("create", "services"))
    assert ranges.services == ()
    assert any("--include" in warning for warning in ranges.warnings)


def test_without_nodes_pods_tell():
    ranges = find(("list", "nodes"), pod_ip="10.99.3.7")
    assert ranges.pods == (IPv4Network("10.99.3.0/24"),)
    assert any("no right to list nodes" in warning for warning in ranges.warnings)


def test_pods_outside_the_nodes_ranges_are_seen():
    ranges = find(pod_ip="10.99.3.7")
    assert set(ranges.pods) == {IPv4Network("10.99.3.0/24"), *NODES}
    assert ranges.warnings == ()


def test_without_any_right_nothing_is_guessed():
    ranges = find(("list", "nodes"), ("list", "pods"))
    assert ranges.pods == ()
    assert any("none are captured" in warning for warning in ranges.warnings)


def resolve(server, proxy=None):
    target = target_of(server, proxy=proxy)

    async def main():
        async with open_api(target) as api:
            return await api_server_addresses(api)

    return asyncio.run(main())


def test_the_api_servers_own_addresses():
    assert resolve("https://192.0.2.7:6443") == (IPv4Address("192.0.2.7"),)
    assert IPv4Address("127.0.0.1") in resolve("https://localhost:6443")
    assert resolve("https://[::1]:6443") == ()
    assert resolve("https://api.invalid", "http://192.0.2.9:3128") == (IPv4Address("192.0.2.9"),)


def test_a_name_that_does_not_resolve():
    with pytest.raises(ClusterUnreachable, match=r"nowhere\.invalid"):
        resolve("https://nowhere.invalid")


def test_another_clusters_ca_is_not_trusted():
    async def main():
        async with open_cluster() as one, open_cluster() as other:
            target = target_of(one.server.url, ca_pem=other.server.certificates.ca_pem)
            async with open_api(target) as api:
                with pytest.raises(ClusterUnreachable, match="not trusted") as raised:
                    await api.get("pods", "p", namespace="demo")
                assert "certificate-authority-data" in raised.value.hint

    asyncio.run(main())


def test_a_ca_that_is_none():
    no_certificate = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----"
    with pytest.raises(UsageError, match="certificates"):
        target_of("https://192.0.2.1", ca_pem=no_certificate)


def test_a_session_without_a_server_fails_at_once():
    async def main():
        async with open_cluster() as cluster:
            url = cluster.server.url
        async with asyncio.timeout(5), open_api(target_of(url)) as api:
            with pytest.raises(ClusterUnreachable, match="can't reach"):
                async with open_shadow_session(api, ShadowSpec("demo", "i", "k"), print):
                    pass

    asyncio.run(main())
