"""Identical questions that are asked once."""

import asyncio

import pytest

from ktnet.dns.flights import Flights
from ktnet.errors import TunnelError


def test_those_who_come_meanwhile_get_the_same_answer() -> None:
    async def main() -> None:
        flights: Flights[str] = Flights()
        asked = []
        release = asyncio.Event()

        async def ask(what: str = "answer") -> str:
            asked.append(what)
            await release.wait()
            return what

        tasks = [asyncio.ensure_future(flights.ask("key", ask)) for _ in range(5)]
        other = asyncio.ensure_future(flights.ask("other", lambda: ask("another")))
        await asyncio.sleep(0)
        assert (len(flights), asked) == (2, ["answer", "another"])
        release.set()
        assert await asyncio.gather(*tasks, other) == ["answer"] * 5 + ["another"]
        assert len(flights) == 0
        await flights.ask("key", ask)
        assert len(asked) == 3

    asyncio.run(main())


def test_failures_are_everybodys() -> None:
    async def main() -> None:
        flights: Flights[str] = Flights()
        release = asyncio.Event()

        async def fail() -> str:
            await release.wait()
            raise TunnelError("down")

        tasks = [asyncio.ensure_future(flights.ask("key", fail)) for _ in range(3)]
        await asyncio.sleep(0)
        release.set()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(each) for each in outcomes] == [TunnelError] * 3
        assert len(flights) == 0

    asyncio.run(main())


def test_who_gives_up_takes_nobody_along() -> None:
    async def main() -> None:
        flights: Flights[str] = Flights()
        asked = []
        release = asyncio.Event()

        async def ask() -> str:
            asked.append(1)
            await release.wait()
            return "answer"

        first, second, third = (asyncio.ensure_future(flights.ask("key", ask)) for _ in range(3))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        release.set()
        assert await third == "answer"
        assert len(asked) == 2

    asyncio.run(main())


def test_after_leaving_the_next_one_asks_anew() -> None:
    async def main() -> None:
        flights: Flights[int] = Flights()
        asked = []
        release = asyncio.Event()

        async def ask() -> int:
            asked.append(1)
            number = len(asked)
            await release.wait()
            return number

        before = asyncio.ensure_future(flights.ask("key", ask))
        await asyncio.sleep(0)
        flights.leave()
        after = asyncio.ensure_future(flights.ask("key", ask))
        await asyncio.sleep(0)
        release.set()
        assert (await before, await after) == (1, 2)
        assert len(flights) == 0

    asyncio.run(main())
