"""A container's log: lines, bounds, followers."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from ktnet.lab.node import log as log_module
from ktnet.lab.node.log import MOST_LINE_BYTES, ContainerLog


def texts(log):
    return [line for _, line in log.lines]


def filled(*pieces):
    async def fill():
        log = ContainerLog()
        for piece in pieces:
            log.feed(piece)
        log.feed_eof()
        return log

    return asyncio.run(fill())


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_nothing_is_lost_however_it_is_cut(pieces):
    log = filled(*pieces)
    assert b"".join(texts(log)) == b"".join(pieces)
    assert all(line.endswith(b"\n") for line in texts(log)[:-1])
    assert all(line.count(b"\n") <= 1 for line in texts(log))


def test_long_line_is_kept_in_pieces():
    log = filled(b"x" * (2 * MOST_LINE_BYTES + 5), b"y\n")
    assert [len(line) for line in texts(log)] == [MOST_LINE_BYTES, MOST_LINE_BYTES, 7]


def test_full_log_begins_anew(monkeypatch):
    monkeypatch.setattr(log_module, "MOST_BYTES", 10)
    assert texts(filled(b"aaaa\nbbbb\n", b"cc\n")) == [b"cc\n"]


def test_follower_starts_at_its_call_and_ends_with_the_container():
    async def scenario():
        log = ContainerLog()
        log.feed(b"before\n")
        following = log.follow()
        log.feed(b"one\ntw")
        seen = []

        async def follow():
            async for _, line in following:
                seen.append(line)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(follow())
            await asyncio.sleep(0)
            assert seen == [b"one\n"]
            log.feed(b"o\nthree")
            await asyncio.sleep(0)
            assert seen == [b"one\n", b"two\n"]
            log.feed_eof()
        assert seen == [b"one\n", b"two\n", b"three"]
        assert texts(log) == [b"before\n", b"one\n", b"two\n", b"three"]

    asyncio.run(scenario())


def test_follower_that_is_too_slow_misses_what_a_full_file_took(monkeypatch):
    monkeypatch.setattr(log_module, "MOST_BYTES", 4)

    async def scenario():
        log = ContainerLog()
        following = log.follow()
        log.feed(b"a\nb\n")
        assert (await anext(following))[1] == b"a\n"
        log.feed(b"c\nd\n")
        assert (await anext(following))[1] == b"c\n"
        log.feed_eof()
        assert [line async for _, line in following] == [b"d\n"]

    asyncio.run(scenario())
