"""`ktnet recover` and `ktnet clean` as a user types them, and the tidying at a session's start."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from api_client import ask
from connect_client import HOST_STATE, OBJECTS, differences, open_client, open_ready_client
from forked_command import Ended, ask_command, run_command

from ktnet.cluster.holding import find_holder
from ktnet.cluster.shadow.manifests import build_labels, build_micro_time
from ktnet.lab.harness import KTNET, Lab, open_lab
from ktnet.wire.record import ANNOTATION, Record, build_record_text

pytestmark = pytest.mark.lab

TOMCAT = "/apis/apps/v1/namespaces/demo/deployments/tomcat"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/demo/leases"
OTHER = "bob@desk"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with open_lab(f"mend-{os.getpid()}") as lab:
        yield lab


def ktnet(lab: Lab, *words: str) -> Ended:
    return run_command(lab, *words, "-n", "demo")


def take(lab: Lab, session: str, holder: str, silent_s: float | None = None) -> dict[str, Any]:
    """What an exchange does to tomcat; with `silent_s`, a Lease that old too. The spec before."""
    before = ask(lab, "GET", TOMCAT)["spec"]
    record = Record(session, holder, "2026-11-24T15:00:00Z", "scale", replicas=before["replicas"])
    annotations = {ANNOTATION: build_record_text(record)}
    ask(lab, "PATCH", TOMCAT, {"metadata": {"annotations": annotations}, "spec": {"replicas": 0}})
    if silent_s is not None:
        renewed = build_micro_time(datetime.now(UTC) - timedelta(seconds=silent_s))
        spec = {"holderIdentity": holder, "leaseDurationSeconds": 60, "renewTime": renewed}
        metadata = {"name": session, "labels": build_labels(session)}
        lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata}
        ask(lab, "POST", LEASES, lease | {"spec": spec})
    return dict(before)


def test_recover_puts_back_from_the_annotation_alone(lab: Lab) -> None:
    before = take(lab, "session-a", OTHER)
    done = ktnet(lab, "recover", "tomcat")
    assert (done.code, done.err) == (0, "")
    assert "deployment/tomcat is back as it was: 1 replicas" in done.out
    after = ask(lab, "GET", TOMCAT)
    assert after["spec"] == before
    assert ANNOTATION not in after["metadata"].get("annotations", {})
    again = ktnet(lab, "recover", "tomcat")
    assert again.code == 11
    assert again.err.startswith("ktnet: nothing of ktnet's to put back")


def test_recover_leaves_what_is_alive_to_its_holder(lab: Lab) -> None:
    before = take(lab, "session-b", OTHER, silent_s=0)
    try:
        refused = ktnet(lab, "recover", "deployment/tomcat")
        assert refused.code == 10
        assert OTHER in refused.err
        assert ask(lab, "GET", TOMCAT)["spec"]["replicas"] == 0
        mine = ktnet(lab, "recover")
        assert mine.code == 11
        assert "held there: deployment/tomcat (bob@desk)" in mine.err
        assert ktnet(lab, "recover", "tomcat", "--force").code == 0
        assert ask(lab, "GET", TOMCAT)["spec"] == before
    finally:
        ask(lab, "DELETE", f"{LEASES}/session-b")


def test_clean_asks_how_long_others_have_been_silent(lab: Lab) -> None:
    before = take(lab, "session-c", OTHER, silent_s=300)
    asleep = ktnet(lab, "clean", "--all-users")
    assert asleep.code == 0
    assert "nothing of ktnet was left in the namespace" in asleep.out
    renewed = build_micro_time(datetime.now(UTC) - timedelta(seconds=700))
    ask(lab, "PATCH", f"{LEASES}/session-c", {"spec": {"renewTime": renewed}})
    assert "nothing of ktnet was left" in ktnet(lab, "clean").out  # it isn't ours
    shown = ktnet(lab, "clean", "--all-users", "--dry-run")
    assert "session session-c of bob@desk holds deployment/tomcat" in shown.out
    assert ask(lab, "GET", TOMCAT)["spec"]["replicas"] == 0
    done = ktnet(lab, "clean", "--all-users")
    assert (done.code, done.err) == (0, "")
    assert "deployment/tomcat is back as it was" in done.out
    assert ask(lab, "GET", TOMCAT)["spec"] == before
    assert "session-c" not in [
        each["metadata"]["name"] for each in ask(lab, "GET", LEASES)["items"]
    ]


def test_what_can_not_be_mended_here_keeps_nothing_from_being_put_back_there(lab: Lab) -> None:
    before = take(lab, "session-f", lab.call(find_holder), silent_s=100)
    journals = "/run/ktnet/journal"
    lab.run("mkdir", "-p", journals)
    lab.run("chmod", "0777", journals)
    try:
        done = ktnet(lab, "clean")
    finally:
        lab.run("chmod", "0755", journals)
    assert done.code == 3
    assert done.err.startswith(f"ktnet: this machine could not be mended: {journals} is not a")
    assert "deployment/tomcat is back as it was" in done.out
    assert ask(lab, "GET", TOMCAT)["spec"] == before


def test_a_session_puts_back_first_what_this_users_dead_ones_left(lab: Lab) -> None:
    census = lab.census()
    before = take(lab, "session-d", lab.call(find_holder), silent_s=100)
    with open_ready_client(lab) as client:
        assert any("deployment/tomcat is back as it was" in line for line in client.lines)
        assert ask(lab, "GET", TOMCAT)["spec"] == before
        code, err = client.end()
    assert (code, err) == (0, "")
    # Not its pods: tomcat's old one may still be ending, and its new one has another name.
    assert differences(census, lab.census(), *(set(OBJECTS) - {"pods"})) == []


def test_a_killed_client_is_cleaned_up_after_by_the_next_command(lab: Lab) -> None:
    census = lab.census()
    with open_client(lab, "--idle", "3600") as client:
        client.wait_for("ready")
        client.process.send_signal(signal.SIGKILL)
        client.process.wait()
    session = next(
        each["metadata"]["name"]
        for each in ask(lab, "GET", LEASES)["items"]
        if each["metadata"]["name"].startswith("ktnet-connect-")
    )
    renewed = build_micro_time(datetime.now(UTC) - timedelta(seconds=61))
    ask(lab, "PATCH", f"{LEASES}/{session}", {"spec": {"renewTime": renewed}})
    done = ktnet(lab, "clean")
    assert f"removed session {session}" in done.out
    assert differences(census, lab.census(), *HOST_STATE) == []
    assert session not in [each["metadata"]["name"] for each in ask(lab, "GET", LEASES)["items"]]


def test_status_shows_everybodys_sessions(lab: Lab) -> None:
    before = take(lab, "session-e", OTHER, silent_s=0)
    try:
        with open_ready_client(lab) as client:
            told = json.loads(ask_command(lab, "status", "-n", "demo", "-o", "json"))
            (mine,) = told["sessions"]
            by_name = {each["name"]: each for each in told["cluster"]}
            assert by_name[mine["session"]]["alive"]
            theirs = by_name["session-e"]
            assert (theirs["holder"], theirs["alive"]) == (OTHER, True)
            assert theirs["holds"] == ["deployment/tomcat"]
            text = ask_command(lab, "status", "-A", "-o", "wide")
            assert "deployment/tomcat" in text
            assert mine["pod"] in text
            assert "cluster" not in ask_command(lab, "status", "--local").splitlines()
            client.end()
    finally:
        assert ktnet(lab, "recover", "tomcat", "--force").code == 0
        ask(lab, "DELETE", f"{LEASES}/session-e")
    assert ask(lab, "GET", TOMCAT)["spec"] == before


def test_names_of_workloads_are_completed_live(lab: Lab) -> None:
    def complete(words: str, word: int) -> list[str]:
        environment = (
            "env",
            "_KTNET_COMPLETE=bash_complete",
            f"COMP_WORDS={words}",
            f"COMP_CWORD={word}",
        )
        return [line.partition(",")[2] for line in lab.run(*environment, *KTNET).split()]

    assert complete("ktnet recover -n demo tom", 4) == ["tomcat"]
    assert complete("ktnet recover -n demo deployment/w", 4) == ["deployment/web"]
    assert complete("ktnet recover --kubeconfig /none tom", 4) == []
