"""Whether a firewall of this machine lets through what comes out of a TUN: only a try can tell."""

from __future__ import annotations

import asyncio

from ktnet.capture.engine import open_capture
from ktnet.capture.probe import PROBE_PORT, probe_firewall
from ktnet.errors import KtnetError
from ktnet.host.client import open_host
from ktnet.host.plan import HostPlan, plan_link
from ktnet.session.checks.machine import has_net_admin
from ktnet.session.checks.result import Check, fail, ok, skip, warn
from ktnet.session.state import WITHOUT_ICMP
from ktnet.wire.flow import OpenFailure, Opening, Receiver


class _Nowhere:
    """A `ktnet.wire.flow.Dialer` without a far side: there is no tunnel yet."""

    def open_tcp(
        self, host: str, port: int, origin: tuple[str, int], receiver: Receiver
    ) -> Opening:
        """Fails, in a later turn of the event loop."""
        failure = OpenFailure.NETWORK_UNREACHABLE
        return asyncio.get_running_loop().call_soon(receiver.open_failed, failure)


async def check_firewall() -> Check:
    """A TUN is made, a few packets sent through it, and it is gone again; nothing is captured."""
    if not has_net_admin():
        return skip("firewall", "takes root to try here; connect tries before it changes anything")
    try:
        async with open_host("none") as host:
            facts = await host.facts()
            if facts.held:
                return skip("firewall", "a session is connected: ktnet status tells")
            plan = HostPlan(plan_link(facts), (), None)
            opened = await host.open_link(plan)
            peer = str(plan.link.peer)
            local = {(peer, PROBE_PORT): (peer, PROBE_PORT)}
            async with open_capture(opened.tun_fd, _Nowhere(), local_targets=local):
                hears_icmp = await probe_firewall(peer, plan.link.name)
    except KtnetError as error:
        return fail("firewall", error)
    if hears_icmp:
        return ok("firewall", "what comes out of a TUN arrives, ICMP errors too")
    return warn("firewall", WITHOUT_ICMP, "accept `ct state related` to hear of both")
