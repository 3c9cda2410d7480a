"""The addresses that an answer gives to names of the cluster. Pure."""

from __future__ import annotations

from ipaddress import IPv4Address

from ktnet.dns.lifetime import NOERROR
from ktnet.dns.messages import Answer
from ktnet.dns.names import read_wire_name
from ktnet.dns.policy import Policy, Zone

_A = 1
_ADDRESS_BYTES = 4


def list_cluster_addresses(answer: Answer, policy: Policy) -> tuple[IPv4Address, ...]:
    """Those whose owner is a name of the cluster, not those at the end of an alias out of it.

    Raises RemoteProtocolError where a name is broken.
    """
    if answer.rcode != NOERROR:
        return ()
    found = []
    for record in answer.records:
        data = answer.wire[record.data_start : record.end]
        if record.section == 1 and record.rtype == _A and len(data) == _ADDRESS_BYTES:
            owner, _ = read_wire_name(answer.wire, record.start)
            if policy.decide(owner).zone is Zone.CLUSTER:
                found.append(IPv4Address(data))
    return tuple(found)
