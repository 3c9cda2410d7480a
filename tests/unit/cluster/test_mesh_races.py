"""Who joins a mesh while the last one leaves, and who dies at any request: against the lab's API
server, with the real members, but for their connections to the router's pods."""

import asyncio
import os
from contextlib import AsyncExitStack
from datetime import timedelta
from itertools import count, pairwise

import pytest
from member_scene import (
    add_service,
    assert_routed,
    build_member,
    leave_pods_out,
    read_state,
    run,
    until_gone,
)

from ktnet.cluster.holding import find_holder
from ktnet.cluster.mesh.leftovers import (
    list_mesh_leftovers,
    list_meshed,
    recover_mesh,
    remove_members,
)
from ktnet.cluster.mesh.router import delete_router
from ktnet.cluster.server.api import Api
from ktnet.errors import Conflict

ROUNDS = 200 if "KTNET_SOAK" in os.environ else 20


@pytest.fixture(autouse=True)
def without_pods(monkeypatch):
    leave_pods_out(monkeypatch)


def test_joining_while_the_last_one_leaves_loses_neither_route_nor_restore():
    async def scenario(cluster):
        service = add_service(cluster)
        before = read_state(cluster)
        routers = []
        leaving = AsyncExitStack()
        await build_member(cluster.api, service, "m0").join(leaving)
        for number in range(1, ROUNDS):
            joining = AsyncExitStack()
            member = build_member(cluster.api, service, f"m{number}")

            async def leave(stack=leaving, delay=number % 7):
                for _ in range(delay * 5):
                    await asyncio.sleep(0)
                await stack.aclose()

            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(leave())
                tasks.create_task(member.join(joining))
            assert_routed(cluster, member)
            leaving = joining
            routers.append(member.router.name)
        await leaving.aclose()
        await until_gone(cluster, before)
        kept = sum(one == two for one, two in pairwise(routers))
        print(f"the router was kept {kept} times and made anew {len(routers) - kept} times")

    run(scenario)


def test_many_that_come_and_go_at_once():
    async def scenario(cluster):
        service = add_service(cluster)
        before = read_state(cluster)

        async def use(number):
            async with AsyncExitStack() as stack:
                member = build_member(cluster.api, service, f"m{number}")
                await member.join(stack)
                assert_routed(cluster, member)
                await asyncio.sleep(0.01 * (number % 5))
                assert_routed(cluster, member)

        async with asyncio.TaskGroup() as tasks:
            for number in range(6):
                tasks.create_task(use(number))
        await until_gone(cluster, before)

    run(scenario)


def test_a_mark_is_one_users_and_a_router_that_was_deleted_is_made_anew():
    async def scenario(cluster):
        service = add_service(cluster)
        before = read_state(cluster)
        async with AsyncExitStack() as first, AsyncExitStack() as second:
            member = build_member(cluster.api, service, "ada")
            await member.join(first)
            with pytest.raises(Conflict, match="ada"):
                await build_member(cluster.api, service, "ada").join(second)
            assert_routed(cluster, member)
            (router,) = cluster.store.list("deployments", "demo")
            await delete_router(cluster.api, "demo", router["metadata"]["name"])
            other = build_member(cluster.api, service, "bob")
            await other.join(second)
            assert_routed(cluster, other)
        await until_gone(cluster, before)

    run(scenario)


class Killed(BaseException):
    """The process is no more."""


class Mortal(Api):
    """A client that is killed at its n-th request, before or after that is done."""

    def __init__(self, api, number, *, after):
        super().__init__(api.target, api._transport)
        self._number, self._after, self.count = number, after, 0

    async def _call(self, method, *arguments, **options):
        self.count += 1
        if self.count > self._number or (self.count == self._number and not self._after):
            raise Killed
        answer = await super()._call(method, *arguments, **options)
        if self.count == self._number:
            raise Killed
        return answer


class Later(Api):
    """Somebody who comes a quarter of an hour later."""

    def now(self):
        return super().now() + timedelta(minutes=15)


async def live(api, service, value):
    async with AsyncExitStack() as stack:
        await build_member(api, service, value).join(stack)


@pytest.mark.parametrize("repair", ["clean", "recover"])
def test_whoever_dies_at_any_request_leaves_what_can_be_undone(repair):
    async def scenario(cluster):
        service = add_service(cluster)
        before = read_state(cluster)
        later = Later(cluster.api.target, cluster.api._transport)
        # How often it looks whether the router has gone differs: up to the one nobody gets to.
        for number in count(1):
            killed = 0
            for after in (False, True):
                try:
                    await live(Mortal(cluster.api, number, after=after), service, "m")
                except (Killed, BaseExceptionGroup):
                    killed += 1
                if repair == "recover":
                    for _, mesh in await list_meshed(later, "demo"):
                        await recover_mesh(later, "demo", mesh, force=False, tell=print)
                await clean(later)
                await until_gone(cluster, before)
            if not killed:
                break
        assert number > 15

    run(scenario)


async def clean(api):
    found = await list_mesh_leftovers(api, "demo", me=find_holder())
    for mesh, gone in found.members:
        await remove_members(api, "demo", mesh, gone, print)
    for router in found.routers:
        await delete_router(api, "demo", router)


def test_what_is_alive_or_others_is_never_touched():
    async def scenario(cluster):
        service = add_service(cluster)
        async with AsyncExitStack() as stack:
            member = build_member(cluster.api, service, "ada")
            await member.join(stack)
            during = read_state(cluster)
            await clean(cluster.api)
            others = await list_mesh_leftovers(cluster.api, "demo", me="bob@desk", all_users=True)
            assert (others.members, others.routers) == ((), ())
            later = Later(cluster.api.target, cluster.api._transport)
            others = await list_mesh_leftovers(later, "demo", me="bob@desk")
            assert (others.members, others.routers) == ((), ())
            ((_, mesh),) = await list_meshed(cluster.api, "demo")
            with pytest.raises(Conflict, match="who is there"):
                await recover_mesh(cluster.api, "demo", mesh, force=False, tell=print)
            assert read_state(cluster) == during

    run(scenario)
