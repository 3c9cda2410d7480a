"""Which Service ports lead where, and that nft accepts the rules made of them."""

import shutil
import subprocess
from ipaddress import IPv4Network
from typing import Any

import pytest

from ktnet.lab.proxy import ServicePort, build_ruleset, list_service_ports

SERVICES, PODS = IPv4Network("10.96.0.0/16"), IPv4Network("10.244.0.0/16")


def build_service(name: str, address: str | None, *ports: dict[str, Any], **spec: Any) -> Any:
    return {
        "metadata": {"namespace": "demo", "name": name},
        "spec": {"clusterIP": address, "ports": list(ports), **spec},
    }


def build_slice(service: str, ports: list[dict[str, Any]], **conditions_of: dict[str, bool]) -> Any:
    """`conditions_of` maps an address, its dots as underscores behind a letter, to conditions."""
    return {
        "metadata": {"namespace": "demo", "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "ports": ports,
        "endpoints": [
            {"addresses": [key[1:].replace("_", ".")], "conditions": conditions}
            for key, conditions in conditions_of.items()
        ],
    }


def test_ready_endpoints_serve_and_ending_ones_only_alone() -> None:
    http = {"name": "http", "port": 80, "protocol": "TCP"}
    service = build_service("web", "10.96.1.1", http)
    target = [{"name": "http", "port": 8080, "protocol": "TCP"}]
    ending = {"ready": False, "serving": True, "terminating": True}
    slices = [
        build_slice("web", target, a10_244_0_3={"ready": True}, a10_244_0_4=ending),
        build_slice("web", target, a10_244_0_5={"ready": False}),
    ]
    (port,) = list_service_ports([service], slices)
    assert port == ServicePort("demo/web:http", "10.96.1.1", "tcp", 80, (("10.244.0.3", 8080),))
    (port,) = list_service_ports([service], [build_slice("web", target, a10_244_0_4=ending)])
    assert port.endpoints == (("10.244.0.4", 8080),)
    (port,) = list_service_ports([service], [])
    assert port.endpoints == ()


def test_only_services_with_an_address_are_served() -> None:
    port = {"port": 80, "protocol": "TCP"}
    services = [
        build_service("headless", "None", port),
        build_service("alias", None, port, type="ExternalName"),
        build_service("odd", "10.96.1.9", {"port": 5, "protocol": "SCTP"}),
    ]
    assert list_service_ports(services, []) == []


def test_ports_are_told_apart_by_name_and_protocol() -> None:
    service = build_service(
        "dns",
        "10.96.0.10",
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
    )
    slices = [
        build_slice(
            "dns",
            [
                {"name": "dns", "port": 53, "protocol": "UDP"},
                {"name": "dns-tcp", "port": 5353, "protocol": "TCP"},
            ],
            a10_244_0_2={},
        )
    ]
    udp, tcp = list_service_ports([service], slices)
    assert (udp.protocol, udp.endpoints) == ("udp", (("10.244.0.2", 53),))
    assert (tcp.protocol, tcp.endpoints) == ("tcp", (("10.244.0.2", 5353),))


@pytest.mark.skipif(shutil.which("nft") is None, reason="nft checks its own language")
@pytest.mark.parametrize("count", [0, 3])
def test_nft_accepts_the_ruleset(count: int) -> None:
    ports = [
        ServicePort(
            f"demo/s{number}:http",
            f"10.96.1.{number}",
            "tcp" if number else "udp",
            80,
            tuple((f"10.244.0.{place + 3}", 8080) for place in range(number)),
        )
        for number in range(count)
    ]
    ruleset = build_ruleset(ports, service_range=SERVICES, pod_range=PODS)
    check = ["unshare", "--user", "--map-root-user", "--net", "nft", "--check", "-f", "-"]
    result = subprocess.run(check, input=ruleset, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
