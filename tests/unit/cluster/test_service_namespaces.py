"""Which namespaces have Services, and who waits for that to change."""

import asyncio

import pytest

from ktnet.cluster.services import ServiceIndex


def service(namespace: str, name: str) -> dict[str, object]:
    return {"metadata": {"namespace": namespace, "name": name}, "spec": {"clusterIP": "10.96.0.7"}}


def test_namespaces_are_those_with_services() -> None:
    index = ServiceIndex("")
    assert index.namespaces == frozenset()
    index.replace([service("demo", "tomcat"), service("demo", "web"), service("default", "api")])
    assert index.namespaces == {"demo", "default"}
    index.change("DELETED", service("demo", "web"))
    assert index.namespaces == {"demo", "default"}
    index.change("DELETED", service("demo", "tomcat"))
    assert index.namespaces == {"default"}


@pytest.mark.parametrize("kind", ["ADDED", "DELETED", "replaced"])
def test_whoever_waits_hears_of_another_namespace_and_of_nothing_else(kind: str) -> None:
    async def main() -> None:
        index = ServiceIndex("")
        index.replace([service("demo", "tomcat"), service("io", "old")])
        known = index.namespaces
        async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(index.wait_for_other_namespaces(known))
            index.change("ADDED", service("demo", "web"))
            index.change("MODIFIED", service("io", "old"))
            for _ in range(5):
                await asyncio.sleep(0)
            assert not waiting.done()
            if kind == "ADDED":
                index.change("ADDED", service("new", "shop"))
            elif kind == "DELETED":
                index.change("DELETED", service("io", "old"))
            else:
                index.replace([service("other", "tomcat")])
            assert await waiting == index.namespaces != known

    asyncio.run(main())


def test_what_changed_before_is_not_waited_for() -> None:
    async def main() -> None:
        index = ServiceIndex("")
        index.replace([service("demo", "tomcat")])
        async with asyncio.timeout(5):
            assert await index.wait_for_other_namespaces(frozenset()) == {"demo"}

    asyncio.run(main())
