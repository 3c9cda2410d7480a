"""What a user does with ktnet, by the command line alone."""

from __future__ import annotations

import json

import pytest
from workload import PAGE, find_address, is_refused, list_remains, read_addresses

pytestmark = pytest.mark.lab


def test_check_says_that_it_would_work(machine, namespace):
    done = machine.ktnet("check", "-n", namespace, "-o", "json")
    assert done.returncode == 0, done.stdout
    failing = [each for each in json.loads(done.stdout)["checks"] if each["result"] == "fail"]
    assert failing == []


def test_connect_and_everything_answers(machine, namespace):
    resolver = machine.run("cat", "/etc/resolv.conf").stdout
    routes = machine.run("ip", "route").stdout
    addresses = machine.call(read_addresses, machine.kubeconfig, namespace)
    with machine.session("connect", "-n", namespace):
        for host in ("web", f"web.{namespace}", f"web.{namespace}.svc.cluster.local"):
            assert machine.get(f"http://{host}/") == PAGE
        assert machine.call(find_address, f"web.{namespace}") == addresses["service"]
        assert machine.call(find_address, f"nobody.{namespace}.svc.cluster.local") == ""
        for pod in addresses["pods"]:
            assert machine.get(f"http://{pod}:8080/") == PAGE
            assert machine.call(is_refused, pod, 8081)
        (session,) = json.loads(machine.ktnet("status", "-o", "json").stdout)["sessions"]
        assert session["state"] == "connected"
        tries = json.loads(machine.ktnet("dns", f"web.{namespace}", "-o", "json").stdout)
        assert tries
    assert machine.run("cat", "/etc/resolv.conf").stdout == resolver
    assert machine.run("ip", "route").stdout == routes
    assert machine.call(list_remains, machine.kubeconfig, namespace) == []


def test_proxy_mode(machine, namespace):
    with machine.session("connect", "-n", namespace, "--mode", "proxy", "--listen", "18081"):
        proxied = ("--noproxy", "", "--socks5-hostname", "127.0.0.1:18081")
        assert machine.get(f"http://web.{namespace}/", *proxied) == PAGE
        tunnelled = ("--noproxy", "", "--proxy", "http://127.0.0.1:18081")
        assert machine.get(f"http://web.{namespace}/", *tunnelled) == PAGE
    assert machine.call(list_remains, machine.kubeconfig, namespace) == []


def test_forward_a_port(machine, namespace):
    with machine.session("forward", "web", "18082:80", "-n", namespace):
        assert machine.get("http://127.0.0.1:18082/", "--noproxy", "*") == PAGE
    assert machine.call(list_remains, machine.kubeconfig, namespace) == []


def test_there_is_nothing_to_mend(machine, namespace):
    assert machine.ktnet("recover", "-n", namespace).returncode == 11
    done = machine.ktnet("clean", "-n", namespace, "--dry-run")
    assert done.returncode == 0
    assert "nothing of ktnet was left in the namespace" in done.stdout
