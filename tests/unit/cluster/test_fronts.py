"""Who stands in front of a Service."""

from __future__ import annotations

from typing import Any

from ktnet.cluster.cleaning import Taken
from ktnet.cluster.exchange.workload import Subject
from ktnet.cluster.fronts import Front, build_service_views
from ktnet.cluster.sessions import SessionView
from ktnet.cluster.shadow.manifests import build_labels
from ktnet.wire.meshrecord import ANNOTATION, Member, MeshRecord, build_record_text
from ktnet.wire.record import Record

Json = dict[str, Any]


def service(name: str, selector: Json | None = None, **metadata: Any) -> Json:
    spec: Json = {"clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"], "ports": [{"port": 80}]}
    return {
        "metadata": {"name": name, "namespace": "demo", **metadata},
        "spec": spec | ({"selector": selector} if selector else {}),
    }


def pod(labels: Json, namespace: str = "demo", **metadata: Any) -> Json:
    return {"metadata": {"name": "p", "namespace": namespace, "labels": labels, **metadata}}


def view(name: str, command: str = "exchange", *, alive: bool = True) -> SessionView:
    return SessionView("demo", name, command, "ann@lap", "2026", alive, 0.0, ())


def fronts(services: list[Json], pods: list[Json], **rest: Any) -> dict[str, tuple[Front, ...]]:
    sessions, taken = rest.get("sessions", []), rest.get("taken", [])
    views = build_service_views(services, pods, sessions, taken)
    return {each.name: each.fronts for each in views}


def test_a_shadow_that_a_service_selects_is_in_front_of_it() -> None:
    labels = {**build_labels("s1"), "app": "web"}
    found = fronts(
        [service("web", {"app": "web"}), service("db", {"app": "db"}), service("bare")],
        [pod(labels), pod({**labels}, namespace="other"), pod({"app": "db"}, namespace="other")],
        sessions=[view("s1")],
    )
    assert found == {
        "bare": (),
        "db": (),
        "web": (Front("s1", "ann@lap", "exchange", True),),
    }


def test_a_pod_that_goes_is_in_front_of_nothing() -> None:
    going = pod({**build_labels("s1"), "app": "web"}, deletionTimestamp="2026")
    assert fronts([service("web", {"app": "web"})], [going], sessions=[view("s1")]) == {"web": ()}


def test_members_of_a_mesh_with_their_marks() -> None:
    members = tuple(Member(name, f"{name}@h", "2026", "version", name) for name in ("m1", "m2"))
    text = build_record_text(MeshRecord("r", (("app", "web"),), members))
    meshed = service("web", {"ktnet.dev/session": "r"}, annotations={ANNOTATION: text})
    found = fronts([meshed], [], sessions=[view("m1", "mesh")])["web"]
    assert [(f.session, f.mark, f.alive) for f in found] == [
        ("m1", "version: m1", True),
        ("m2", "version: m2", False),
    ]
    broken = service("web", {"a": "b"}, annotations={ANNOTATION: "<garbage>"})
    assert fronts([broken], []) == {"web": ()}


def test_what_a_dead_session_took_leads_nowhere_and_says_whose_it_was() -> None:
    workload = {
        "metadata": {"name": "web", "namespace": "demo"},
        "spec": {"template": {"metadata": {"labels": {"app": "web"}}}},
    }
    record = Record("gone", "bob@desk", "2026", "scale", replicas=1)
    taken = [Taken(Subject("deployments", workload), "", record)]
    expected = (Front("gone", "bob@desk", "exchange", False),)
    assert fronts([service("web", {"app": "web"})], [], taken=taken) == {"web": expected}


def test_addresses_and_ports_as_they_are_written() -> None:
    headless = {"metadata": {"name": "h", "namespace": "demo"}, "spec": {"clusterIP": "None"}}
    external = {"metadata": {"name": "e", "namespace": "demo"}, "spec": {"type": "ExternalName"}}
    views = build_service_views([service("w"), headless, external], [], [], [])
    by_name = {each.name: each for each in views}
    assert (by_name["w"].addresses, by_name["w"].ports) == (("10.96.0.9",), ("80/TCP",))
    assert (by_name["h"].addresses, by_name["e"].kind) == ((), "ExternalName")
