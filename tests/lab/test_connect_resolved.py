"""`ktnet connect` beside systemd-resolved: names by its own ways, and nothing left of it."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from connect_client import open_connection, open_ready_client
from forked_command import ask_command
from name_scene import api, list_names, make_service
from resolved_scene import Resolved, open_resolved

from ktnet.lab.harness import Lab, open_lab

pytestmark = pytest.mark.lab

LIMIT_S = 15.0
STUB = "../run/systemd/resolve/stub-resolv.conf"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with open_lab(f"resolved-{os.getpid()}") as lab:
        yield lab


@pytest.fixture(scope="module")
def resolved(lab: Lab) -> Iterator[Resolved]:
    with open_resolved(lab) as resolved:
        yield resolved


def addresses(lab: Lab, name: str) -> list[str]:
    """What getaddrinfo says; nothing where it says that there is no such name."""
    done = subprocess.run(
        lab.exec("getent", "ahostsv4", name), capture_output=True, text=True, check=False
    )
    return sorted({line.split()[0] for line in done.stdout.splitlines()})


def wait_until(condition: Callable[[], object], what: str) -> None:
    deadline_s = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline_s, what
        time.sleep(0.05)


def domains(resolved: Resolved) -> list[str]:
    return resolved.link("ktnet0")["DNS Domain"].split()


def read_file(path: str) -> tuple[str, str]:
    """Where it leads, and what is there."""
    found = Path(path)
    return str(found.readlink()) if found.is_symlink() else "", found.read_text()


def write_file(path: str, text: str) -> None:
    """As a DHCP client does: another file takes the place."""
    draft = Path(path + ".dhcp")
    draft.write_text(text)
    draft.rename(path)


def links(lab: Lab) -> list[str]:
    return [link["ifname"] for link in json.loads(lab.run("ip", "-json", "link"))]


def status(lab: Lab) -> dict[str, object]:
    (session,) = json.loads(ask_command(lab, "status", "-o", "json"))["sessions"]
    return dict(session)


def test_names_go_where_they_belong(lab: Lab, resolved: Resolved) -> None:
    before = lab.call(read_file, "/etc/resolv.conf")
    known = resolved.ctl("--no-pager", "status")
    tomcat = [lab.census()["tomcat"]["clusterIP"]]
    with open_connection(lab):
        assert status(lab)["dns_mode"] == "resolved"
        told = resolved.link("ktnet0")
        assert told["DNS Servers"] == status(lab)["nameserver"]
        assert "-DefaultRoute" in told["Protocols"]
        assert told["DNS Domain"].split()[:3] == [
            "demo.svc.cluster.local",
            "svc.cluster.local",
            "cluster.local",
        ]
        assert {"~svc", "~demo", "~default", "~kube-system", "~96.10.in-addr.arpa"} <= set(
            told["DNS Domain"].split()
        )
        office, cluster = len(list_names(lab, "office")), len(list_names(lab, "cluster"))
        full = "tomcat.demo.svc.cluster.local"
        for name in ("tomcat", "tomcat.demo", "tomcat.demo.svc", full):
            assert addresses(lab, name) == tomcat, name
        assert full in lab.run("getent", "hosts", tomcat[0])
        asked = list_names(lab, "office")[office:]
        # resolved may try a name without a dot with the office's own domain: documented.
        assert set(asked) <= {"tomcat.office.example"}
        office, cluster = len(list_names(lab, "office")), len(list_names(lab, "cluster"))
        assert addresses(lab, "foo.io") == ["203.0.113.20"]
        assert addresses(lab, "www.example.com") == ["203.0.113.10"]
        assert addresses(lab, "intranet.office.example") == ["192.168.64.80"]
        assert {"foo.io", "www.example.com"} <= set(list_names(lab, "office")[office:])
        assert list_names(lab, "cluster")[cluster:] == []
        assert addresses(lab, "intranet") == ["192.168.64.80"]
        # The file is resolved's, who lists the search domains of all links in it, in any order.
        where, text = lab.call(read_file, "/etc/resolv.conf")
        assert where == STUB
        (search,) = (line.split()[1:] for line in text.splitlines() if line.startswith("search"))
        assert set(search) == {*told["DNS Domain"].split()[:3], "office.example"}
    assert lab.call(read_file, "/etc/resolv.conf") == before
    assert resolved.ctl("--no-pager", "status").count("Link ") == known.count("Link ")
    assert addresses(lab, "tomcat.demo") == []


def test_a_namespace_that_appears_is_heard_of_at_once(lab: Lab, resolved: Resolved) -> None:
    """It is called as a domain of the Internet, whose other names stay where they were."""
    ports = [{"name": "http", "port": 80, "protocol": "TCP"}]
    with open_connection(lab):
        assert "~io" not in domains(resolved)
        assert addresses(lab, "shop.io") == []
        api(lab, "POST", "/api/v1/namespaces", {"metadata": {"name": "io"}})
        body = {"metadata": {"name": "shop"}, "spec": {"ports": ports}}
        made = api(lab, "POST", "/api/v1/namespaces/io/services", body)
        wait_until(lambda: "~io" in domains(resolved), "the namespace is not told")
        assert addresses(lab, "shop.io") == [made["spec"]["clusterIP"]]
        cluster = len(list_names(lab, "cluster"))
        assert addresses(lab, "foo.io") == ["203.0.113.20"]
        assert list_names(lab, "cluster")[cluster:] == []
        api(lab, "DELETE", "/api/v1/namespaces/io/services/shop")
        wait_until(lambda: "~io" not in domains(resolved), "the namespace is still there")


def test_a_service_made_a_moment_ago_is_no_denied_one(lab: Lab, resolved: Resolved) -> None:
    """Though resolved remembers, too."""
    with open_connection(lab):
        names = ("fresh", "fresh.demo", "fresh.demo.svc.cluster.local")
        assert [addresses(lab, name) for name in names] == [[], [], []]
        make_service(lab, "fresh")
        expected = [api(lab, "GET", "/api/v1/namespaces/demo/services/fresh")["spec"]["clusterIP"]]
        start_s = time.monotonic()
        wait_until(lambda: addresses(lab, "fresh.demo") == expected, "it stays denied")
        assert addresses(lab, "fresh") == addresses(lab, names[2]) == expected
        assert time.monotonic() - start_s < 5.0


def test_resolved_may_be_restarted_meanwhile(lab: Lab, resolved: Resolved) -> None:
    tomcat = [lab.census()["tomcat"]["clusterIP"]]
    with open_connection(lab) as connection:
        resolved.restart()
        assert addresses(lab, "tomcat.demo") == tomcat
        assert connection.end() == 0
    assert addresses(lab, "tomcat.demo") == []
    assert "ktnet0" not in links(lab)


@pytest.mark.parametrize("victims", ["client", "helper", "both"])
def test_sigkill_leaves_nothing(lab: Lab, resolved: Resolved, victims: str) -> None:
    before = lab.call(read_file, "/etc/resolv.conf")
    with open_ready_client(lab) as client:
        helper = client.find_helper()
        assert helper is not None
        if victims != "client":
            os.kill(helper, signal.SIGKILL)
        if victims != "helper":
            client.process.kill()
        client.wait()
        wait_until(lambda: "ktnet0" not in links(lab), "the link is still there")
    wait_until(
        lambda: lab.call(read_file, "/etc/resolv.conf") == before, "its search domains are left"
    )
    assert addresses(lab, "tomcat.demo") == []
    assert addresses(lab, "intranet.office.example") == ["192.168.64.80"]


def test_the_file_in_spite_of_resolved(lab: Lab, resolved: Resolved) -> None:
    before = lab.call(read_file, "/etc/resolv.conf")
    tomcat = [lab.census()["tomcat"]["clusterIP"]]
    with open_connection(lab, "--dns-mode", "resolvconf"):
        assert status(lab)["dns_mode"] == "resolvconf"
        where, text = lab.call(read_file, "/etc/resolv.conf")
        assert where == ""
        assert f"nameserver {status(lab)['nameserver']}" in text
        assert addresses(lab, "tomcat") == tomcat
        assert addresses(lab, "intranet") == ["192.168.64.80"]
    assert lab.call(read_file, "/etc/resolv.conf")[0] == STUB
    wait_until(lambda: lab.call(read_file, "/etc/resolv.conf") == before, "something is left")


def test_off_changes_nothing(lab: Lab, resolved: Resolved) -> None:
    before = lab.call(read_file, "/etc/resolv.conf")
    with open_connection(lab, "--dns-mode", "off"):
        assert status(lab)["dns_mode"] == "off"
        assert lab.call(read_file, "/etc/resolv.conf") == before
        assert "DNS Servers" not in resolved.link("ktnet0")
        assert addresses(lab, "tomcat.demo") == []


def test_who_writes_the_file_meanwhile_wins_and_ours_is_put_on_top(
    lab: Lab, resolved: Resolved
) -> None:
    """The laptop comes to another network, whose DHCP server names the same resolver otherwise."""
    theirs = "# Generated by NetworkManager\nnameserver 192.168.64.53\nsearch hotel.example\n"
    path = "/etc/resolv.conf"
    tomcat = [lab.census()["tomcat"]["clusterIP"]]
    with open_connection(lab, "--dns-mode", "resolvconf") as connection:
        ours = f"nameserver {status(lab)['nameserver']}"
        lab.call(write_file, path, theirs)

        def is_ours_again() -> bool:
            return ours in lab.call(read_file, path)[1]

        wait_until(is_ours_again, "ours is not put back")
        assert "hotel.example" in lab.call(read_file, path)[1]
        assert addresses(lab, "tomcat") == tomcat
        assert addresses(lab, "foo.io") == ["203.0.113.20"]
        assert connection.end() == 0
    assert lab.call(read_file, path) == ("", theirs)
