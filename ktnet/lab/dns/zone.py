"""The names of a cluster and what CoreDNS answers for them. Pure.

The names follow the specification github.com/kubernetes/dns/blob/master/docs/specification.md;
where that leaves room, CoreDNS 1.14 decides (its plugin `kubernetes` with `pods insecure`).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from dnslib import AAAA, CNAME, NS, PTR, QTYPE, RCODE, RR, SOA, SRV, TXT, A

Obj = dict[str, Any]

TTL_S = 30
SPECIFICATION_VERSION = "1.1.0"
SERVICE_LABEL = "kubernetes.io/service-name"


@dataclass
class Answer:
    """What goes into a message: sections and a response code; `outside` leaves AA unset."""

    records: list[RR] = field(default_factory=list)
    authority: list[RR] = field(default_factory=list)
    additional: list[RR] = field(default_factory=list)
    rcode: int = RCODE.NOERROR
    authoritative: bool = True


OUTSIDE = Answer(rcode=RCODE.SERVFAIL, authoritative=False)
"""For names of other zones: the lab's cluster DNS has no upstream."""


@dataclass(frozen=True)
class Target:
    """One address and port that a name stands for."""

    name: str
    """The name that an SRV record points at."""
    address: str
    port: int
    port_name: str
    protocol: str


class Zone:
    """A snapshot of everything that has a name in the cluster."""

    def __init__(
        self,
        services: Iterable[Obj],
        slices: Iterable[Obj],
        namespaces: Iterable[str],
        *,
        domain: str = "cluster.local",
        serial: int,
    ) -> None:
        self.domain = domain
        self._serial = serial
        self._namespaces = frozenset(namespaces)
        self._services = {
            (each["metadata"]["namespace"], each["metadata"]["name"]): each for each in services
        }
        self._endpoints: dict[tuple[str, str], list[Target]] = {}
        for each in slices:
            self._add_slice(each)
        self._reverse = self._build_reverse()

    def answer(self, name: str, kind: int) -> Answer:
        """Answers a question; `name` in lower case without the last dot, `kind` as QTYPE has it."""
        if name == self.domain:
            return self._answer_apex(kind)
        if name.endswith("." + self.domain):
            return self._answer_inside(name, name[: -len(self.domain) - 1].split("."), kind)
        if kind == QTYPE.PTR and (address := parse_reverse(name)) in self._reverse:
            names = self._reverse[address]
            return Answer([_record(name, QTYPE.PTR, PTR(each)) for each in names])
        return OUTSIDE

    # Sections that several answers share.

    def _soa(self) -> RR:
        times = (self._serial, 7200, 1800, 86400, TTL_S)
        data = SOA(f"ns.dns.{self.domain}", f"hostmaster.{self.domain}", times)
        return _record(self.domain, QTYPE.SOA, data)

    def _no_data(self) -> Answer:
        return Answer(authority=[self._soa()])

    def _no_name(self) -> Answer:
        return Answer(authority=[self._soa()], rcode=RCODE.NXDOMAIN)

    # Names, from the shortest to the longest.

    def _answer_apex(self, kind: int) -> Answer:
        if kind == QTYPE.SOA:
            return Answer([self._soa()])
        if kind == QTYPE.NS:
            name = f"kube-dns.kube-system.svc.{self.domain}"
            return Answer(
                [_record(self.domain, QTYPE.NS, NS(name))], additional=self._dns_address(name)
            )
        return self._no_data()

    def _dns_address(self, name: str) -> list[RR]:
        service = self._services.get(("kube-system", "kube-dns"))
        return [_record(name, QTYPE.A, A(service["spec"]["clusterIP"]))] if service else []

    def _answer_inside(self, name: str, labels: list[str], kind: int) -> Answer:
        if labels == ["dns-version"] and kind == QTYPE.TXT:
            return Answer([_record(name, QTYPE.TXT, TXT(SPECIFICATION_VERSION))])
        if labels == ["ns", "dns"] and kind == QTYPE.A:
            return Answer(self._dns_address(name))
        *rest, group = labels
        *rest, namespace = rest or [""]
        if group not in {"svc", "pod"} or namespace not in {"", *self._namespaces}:
            return self._no_name()
        if not rest:
            return self._no_data()
        if group == "pod":
            return self._answer_pod(name, rest, kind)
        *rest, service = rest
        return self._answer_service(name, (namespace, service), rest, kind)

    def _answer_pod(self, name: str, labels: list[str], kind: int) -> Answer:
        """a-b-c-d.NAMESPACE.pod: any address at all (`pods insecure`)."""
        address = _parse_dashed(labels[0]) if len(labels) == 1 else None
        if address is None:
            return self._no_name()
        return self._addresses(name, [str(address)], kind)

    def _answer_service(
        self, name: str, key: tuple[str, str], labels: list[str], kind: int
    ) -> Answer:
        service = self._services.get(key)
        if service is None:
            return self._no_name()
        if service["spec"].get("type") == "ExternalName":
            return self._answer_external(name, service, kind) if not labels else self._no_name()
        targets = self._find(key, service, labels)
        if not targets:
            return self._no_name()
        if kind == QTYPE.SRV:
            return self._ports(name, targets)
        return self._addresses(name, [each.address for each in targets], kind)

    def _answer_external(self, name: str, service: Obj, kind: int) -> Answer:
        target = service["spec"]["externalName"].rstrip(".").lower()
        if _is_address(target):
            return self._no_name()
        alias = _record(name, QTYPE.CNAME, CNAME(target))
        if kind == QTYPE.CNAME:
            return Answer([alias])
        if kind not in {QTYPE.A, QTYPE.AAAA}:
            return self._no_data()
        if not target.endswith("." + self.domain):
            return Answer([alias])
        beyond = self.answer(target, kind)
        return Answer([alias, *beyond.records]) if beyond.records else self._no_data()

    # What a Service's name stands for.

    def _find(self, key: tuple[str, str], service: Obj, labels: list[str]) -> list[Target]:
        """The targets of NAME, of _PORT._PROTOCOL.NAME or of ENDPOINT.NAME."""
        endpoint = port = protocol = ""
        if len(labels) == 1:
            endpoint = labels[0]
        elif len(labels) == 2:
            port, protocol = (label.removeprefix("_") for label in labels)
        elif labels:
            return []
        namespace, service_name = key
        base = f"{service_name}.{namespace}.svc.{self.domain}"
        if endpoint:
            wanted = f"{endpoint}.{base}"
            return [each for each in self._endpoints.get(key, []) if each.name == wanted]
        if service["spec"].get("clusterIP") == "None":
            targets = self._endpoints.get(key, [])
        else:
            targets = [
                Target(
                    base,
                    service["spec"]["clusterIP"],
                    each["port"],
                    each.get("name", ""),
                    each.get("protocol", "TCP").lower(),
                )
                for each in service["spec"].get("ports") or []
            ]
        if not port:
            return targets
        return [each for each in targets if (each.port_name, each.protocol) == (port, protocol)]

    def _addresses(self, name: str, addresses: list[str], kind: int) -> Answer:
        records = []
        for address in dict.fromkeys(addresses):
            record = _address_record(name, address)
            if record.rtype == kind:
                records.append(record)
        return Answer(records) if records else self._no_data()

    def _ports(self, name: str, targets: list[Target]) -> Answer:
        weight = 100 // len(targets)
        records = [
            _record(name, QTYPE.SRV, SRV(0, weight, each.port, each.name)) for each in targets
        ]
        places = dict.fromkeys((each.name, each.address) for each in targets)
        return Answer(records, additional=[_address_record(*place) for place in places])

    # Building the snapshot.

    def _add_slice(self, endpoint_slice: Obj) -> None:
        meta = endpoint_slice["metadata"]
        service = (meta.get("labels") or {}).get(SERVICE_LABEL)
        if service is None or endpoint_slice.get("addressType") not in {"IPv4", "IPv6"}:
            return
        known = self._endpoints.setdefault((meta["namespace"], service), [])
        base = f"{service}.{meta['namespace']}.svc.{self.domain}"
        # A headless Service may have no ports at all; its pods have names all the same.
        ports = endpoint_slice.get("ports") or [{"port": 0}]
        for endpoint in endpoint_slice.get("endpoints") or []:
            if (endpoint.get("conditions") or {}).get("ready") is False:
                continue
            for address in endpoint["addresses"]:
                label = endpoint.get("hostname") or address.replace(".", "-").replace(":", "-")
                for port in ports:
                    number, protocol = port.get("port") or 0, port.get("protocol", "TCP").lower()
                    known.append(
                        Target(f"{label}.{base}", address, number, port.get("name", ""), protocol)
                    )

    def _build_reverse(self) -> dict[str, list[str]]:
        """Names by address: a ClusterIP has its Service's name only."""
        names: dict[str, list[str]] = {}
        for key, targets in self._endpoints.items():
            if key in self._services:
                for target in targets:
                    known = names.setdefault(target.address, [])
                    if target.name not in known:
                        known.append(target.name)
        for (namespace, name), service in self._services.items():
            address = service["spec"].get("clusterIP")
            if address and address != "None":
                names[address] = [f"{name}.{namespace}.svc.{self.domain}"]
        return names


def _record(name: str, kind: int, data: Any) -> RR:
    return RR(name, kind, ttl=TTL_S, rdata=data)


def _address_record(name: str, address: str) -> RR:
    if ":" in address:
        return _record(name, QTYPE.AAAA, AAAA(address))
    return _record(name, QTYPE.A, A(address))


def _parse_dashed(label: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    separator = "." if label.count("-") == 3 and "--" not in label else ":"
    try:
        return ipaddress.ip_address(label.replace("-", separator))
    except ValueError:
        return None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def parse_reverse(name: str) -> str:
    """The address of a name under in-addr.arpa or ip6.arpa; "" for any other name."""
    try:
        if name.endswith(".in-addr.arpa"):
            labels = name.removesuffix(".in-addr.arpa").split(".")
            return str(ipaddress.IPv4Address(".".join(reversed(labels))))
        if name.endswith(".ip6.arpa"):
            digits = "".join(reversed(name.removesuffix(".ip6.arpa").split(".")))
            return str(ipaddress.IPv6Address(int(digits, 16))) if len(digits) == 32 else ""
    except ValueError:
        return ""
    return ""
