"""What follows the API acts a moment later, and can be waited for."""

from __future__ import annotations

import asyncio

from ktnet.lab.api.store import Store
from ktnet.lab.propagation import DELAY_S, Follower


def test_settling_waits_for_what_has_changed_by_then() -> None:
    async def run() -> None:
        store = Store()
        seen: list[int] = []
        began = asyncio.Event()

        async def act() -> None:
            seen.append(len(store.list("namespaces")))
            began.set()
            await asyncio.sleep(DELAY_S)

        follower = Follower(store, ("namespaces",), act)
        running = asyncio.create_task(follower.run())
        await follower.settle()
        assert seen == [0]
        began.clear()
        store.create("namespaces", None, {"metadata": {"name": "one"}})
        await began.wait()
        # It acts on what it has seen already, which isn't this one.
        store.create("namespaces", None, {"metadata": {"name": "two"}})
        await asyncio.gather(follower.settle(), follower.settle())
        assert seen == [0, 1, 2]
        running.cancel()

    asyncio.run(run())
