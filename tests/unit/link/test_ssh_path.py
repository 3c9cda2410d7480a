"""Which path is taken, and that either end's choice is its own."""

from __future__ import annotations

import asyncssh
import pytest
from tunnel_ends import Between, echo, open_flow, open_shadow, open_target, open_tunnel, run

from ktnet.stream import internals
from ktnet.stream.carrier import PlainCarrier
from ktnet.stream.datapath import DataPath


@pytest.fixture
def fresh_verdict():
    internals.find_obstacle.cache_clear()
    yield
    internals.find_obstacle.cache_clear()


def test_the_path_that_was_asked_for_is_taken(ssh_path):
    async def scenario():
        async with open_tunnel() as (link, ends):
            await link.round_trip()
            (server_side,) = ends.shadow.connections
            return link.path, server_side.get_extra_info("carrier").path

    assert run(scenario()) == (ssh_path, ssh_path)


def test_the_two_ends_may_differ(ssh_path, monkeypatch):
    other = {"own": PlainCarrier, "asyncssh": DataPath}[ssh_path]
    monkeypatch.setattr("ktnet.shadow.carrier.build_carrier", other)

    async def scenario():
        async with open_tunnel() as (link, ends), open_target(echo) as port:
            receivers = [open_flow(link, port) for _ in range(5)]
            for receiver in receivers:
                flow = await receiver.until_open()
                flow.write(bytes(300_000))
                flow.write_eof()
            for receiver in receivers:
                assert await receiver.until_closed() == "end"
                assert receiver.received == 300_000
            (server_side,) = ends.shadow.connections
            assert {link.path, server_side.get_extra_info("carrier").path} == {"own", "asyncssh"}

    run(scenario())


def test_another_asyncssh_is_left_to_do_everything(monkeypatch, fresh_verdict):
    monkeypatch.setattr(asyncssh, "__version__", "2.25.0")

    async def scenario():
        async with open_tunnel() as (link, _):
            assert await link.round_trip() < 5
            return link.path

    assert run(scenario()) == "asyncssh"
    assert "2.25.0" in internals.find_obstacle()


def test_a_name_that_is_gone_is_noticed(monkeypatch, fresh_verdict):
    monkeypatch.setattr(internals, "_CHANNEL_NAMES", {"_send_chan", "_not_there"})
    assert internals.find_obstacle() == "asyncssh has no _not_there"


def test_ciphers_that_keep_their_key_elsewhere_are_noticed(monkeypatch, fresh_verdict):
    monkeypatch.delattr("asyncssh.crypto.cipher.GCMCipher._update_iv")
    assert "other than expected" in internals.find_obstacle()


def test_a_plain_socket_is_read_past_asyncio_and_not_where_somebody_stands_between(ssh_path):
    if ssh_path != "own":
        pytest.skip("asyncssh reads what it carries itself")

    class Counting(Between):
        received = 0

        def data_received(self, data):
            self.received += len(data)
            super().data_received(data)

    async def scenario():
        betweens = []
        async with open_shadow() as ends:

            async def dial(factory):
                def build():
                    betweens.append(Counting(factory()))
                    return betweens[-1]

                return await ends.dial(build)

            async with ends.attach() as link:
                await link.round_trip()
                assert link._carrier._intake is not None
            async with ends.attach(dial) as link:
                await link.round_trip()
                before = betweens[0].received
                await link.round_trip()
                assert betweens[0].received > before
                assert link._carrier._intake is None

    run(scenario())
