"""10-dns: what CoreDNS answers, field by field; when changes show; a pod's resolver file.

Queries are the recorded bytes with other names in them, of the same lengths. The time is the
recorded one: what a cache counts down needs no waiting.
"""

from __future__ import annotations

import random
import re
import string
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dns_scene import NAMES, build_cluster, change, prepare
from dnslib import QTYPE, RCODE, DNSRecord
from recordings import Case, load_cases
from replaying import Folder
from verdicts import MATCHED, WRONG, Verdict

from ktnet.lab.dns.cluster import ClusterDns
from ktnet.lab.node.etc import build_hosts, build_resolver

FOLDER = "10-dns"
MATCHED_AT_LEAST = 90
LISTED: dict[str, str] = {}

LATER_S = {
    "tcp-service-a": 6.0,
    "service-a-after-7s": 13.0,
    "nxdomain": 100.0,
    "nxdomain-after-7s": 107.0,
}
"""Seconds since the first query, as the recorded TTLs tell; the cases after one follow at once."""
SPARE = re.compile(r"(?<=hostmaster\.cluster\.local\. )\d+")
"""The SOA's serial is the time."""
RESOLUTION_S = 0.1
"""How often the recorder asked."""


def load(folder: Path) -> dict[str, Case]:
    """Each answer and each change is a case of its own."""
    cases = load_cases(folder)
    answers, changes = cases.pop("answers"), cases.pop("propagation")
    for each in answers.document["cases"]:
        cases[each["case"]] = Case(FOLDER, each["case"], each)
    for number, each in enumerate(changes.document["cases"]):
        cases[f"propagation-{number}"] = Case(FOLDER, f"propagation-{number}", each)
    return cases


async def replay(folder: Folder) -> None:
    names = invent_names(folder.seed)
    now_s = 0.0
    dns = ClusterDns(build_cluster(names), clock=lambda: now_s)
    for name, case in folder.cases.items():
        if "query" in case.document:
            now_s = LATER_S.get(name, now_s)
            folder.record(name, replay_query(dns, case, names))
    for name, case in folder.cases.items():
        if "change_made_at" in case.document:
            folder.record(name, await replay_change(case, names))
    folder.record("resolv-conf", compare_files(folder.cases["resolv-conf"]))
    folder.record("corefile", await replay_configuration(folder.cases["corefile"], names))


def invent_names(seed: int) -> dict[str, str]:
    """For each name another one of its length; what isn't a letter stays."""
    source, names = random.Random(seed), {}
    while len(names) < len(NAMES):
        old = NAMES[len(names)]
        new = re.sub("[a-z]", lambda _: source.choice(string.ascii_lowercase), old)
        if new not in {*names.values(), *NAMES, "dns", "svc", "pod", "web"}:
            names[old] = new
    return names


def rename(message: bytes, names: dict[str, str]) -> bytes:
    """Labels of a message (RFC 1035 section 3.1); those in capitals stay in capitals."""
    for old, new in names.items():

        def spell(match: re.Match[bytes], new: str = new) -> bytes:
            written = match[0][1:].decode()
            spelt = (n.upper() if w.isupper() else n for w, n in zip(written, new, strict=True))
            return match[0][:1] + "".join(spelt).encode()

        label = re.escape(bytes([len(old)]) + old.encode())
        message = re.sub(label, spell, message, flags=re.IGNORECASE)
    return message


def replay_query(dns: ClusterDns, case: Case, names: dict[str, str]) -> Verdict:
    document = case.document
    query = rename(bytes.fromhex(document["query"]["hex"]), names)
    recorded = rename(bytes.fromhex(document["answer"]["hex"]), names)
    udp = document["transport"] == "udp"
    found = dns.respond(query, udp, "10.244.0.2")
    if found is None:
        return Verdict(WRONG, ("no answer",))
    differences = compare_messages(recorded, found)
    return Verdict(WRONG, tuple(differences)) if differences else Verdict(MATCHED)


def compare_messages(recorded: bytes, found: bytes) -> list[str]:
    """All fields of the header, the question as it is written, each section's records."""
    if recorded[:4] != found[:4]:
        return [f"header {found[:4].hex()} instead of {recorded[:4].hex()}"]
    if recorded[4:12] == bytes(8) or found[4:12] == bytes(8):
        return [] if recorded == found else [f"{found.hex()} instead of {recorded.hex()}"]
    was, is_now = DNSRecord.parse(recorded), DNSRecord.parse(found)
    pairs = [
        ("questions", list_questions(was), list_questions(is_now)),
        ("authority", list_records(was.auth), list_records(is_now.auth)),
    ]
    if was.header.tc:
        pairs.append(("number of records that fit", [len(was.rr)], [len(is_now.rr)]))
    else:
        pairs.append(("answers", list_records(was.rr), list_records(is_now.rr)))
        pairs.append(("additional", list_records(was.ar), list_records(is_now.ar)))
    return [f"{what}: {new} instead of {old}" for what, old, new in pairs if old != new]


def list_questions(message: DNSRecord) -> list[str]:
    return [f"{each.qname} {each.qtype} {each.qclass}" for each in message.questions]


def list_records(records: Iterable[Any]) -> list[str]:
    """Aliases in front of what they stand for; of addresses the order is chance."""
    texts = [(each.rtype != QTYPE.CNAME, SPARE.sub("N", str(each))) for each in records]
    return [text for _, text in sorted(texts)]


async def replay_change(case: Case, names: dict[str, str]) -> Verdict:
    """Asks as often as the recorder did; each change of the answer must come when it came then."""
    document = case.document
    now_s = 0.0
    store = build_cluster(names)
    prepare(store, document["name"], names)
    dns = ClusterDns(store, clock=lambda: now_s)
    undone, told, last = True, [], ""
    query = rename(DNSRecord.question(document["name"]).pack(), names)
    while now_s < 32:
        if undone and now_s >= document["change_made_at"]:
            change(store, document["name"], names)
            await dns.refresh()
            undone = False
        answer = show(dns.respond(query, True, "10.244.0.2"))
        if answer != last:
            told.append((now_s, answer))
        last, now_s = answer, round(now_s + RESOLUTION_S, 1)
    recorded = [parse_told(each) for each in document["answers"]]
    same = [answer for _, answer in told] == [answer for _, answer in recorded] and all(
        abs(at - then) <= 2 * RESOLUTION_S
        for (at, _), (then, _) in zip(told, recorded, strict=True)
    )
    return Verdict(MATCHED) if same else Verdict(WRONG, (f"{told} instead of {recorded}",))


async def replay_configuration(case: Case, names: dict[str, str]) -> Verdict:
    """What the directives of CoreDNS's configuration that are about answers come to here."""
    wanted = parse_configuration(case.document["corefile"])
    now_s = 0.0
    store = build_cluster(names)
    dns = ClusterDns(store, clock=lambda: now_s)
    place = names["transcripts"]

    def ask(name: str, kind: str = "A") -> DNSRecord:
        answer = dns.respond(DNSRecord.question(name, kind).pack(), True, "10.244.0.2")
        assert answer is not None
        return DNSRecord.parse(answer)

    late = f"{names['late2']}.{place}.svc.cluster.local"
    pod = f"10-9-8-7.{place}.pod.cluster.local"
    outside = ask("www.example.com").header.rcode
    found = {
        "ttl": str(ask(f"{names['noname']}.{place}.svc.cluster.local").rr[0].ttl),
        # Of any address, whether there is such a pod or not.
        "pods": "insecure" if str(ask(pod).rr[0].rdata) == "10.9.8.7" else "verified",
        # Of an address that is nobody's, what is said of a name outside.
        "fallthrough": [
            zone
            for zone, name in (
                ("in-addr.arpa", "1.2.0.192.in-addr.arpa"),
                ("ip6.arpa", f"{'0.' * 32}ip6.arpa"),
            )
            if ask(name, "PTR").header.rcode == outside
        ],
    }
    assert RCODE[ask(late).header.rcode] == "NXDOMAIN"
    change(store, "late2", names)
    await dns.refresh()
    known = int(wanted["cache"])
    now_s = known - 1.0
    before = RCODE[ask(late).header.rcode]
    now_s = known + 1.0
    kept = before == "NXDOMAIN" and RCODE[ask(late).header.rcode] == "NOERROR"
    found["cache"] = str(known) if kept else "other"
    wrong = tuple(f"{key}: {found[key]} instead of {wanted[key]}" for key in wanted)
    return Verdict(WRONG, wrong) if found != wanted else Verdict(MATCHED)


def parse_configuration(text: str) -> dict[str, Any]:
    """What a Corefile says of TTLs, pods, caching and names that aren't the cluster's."""
    lines = [line.strip().split() for line in text.splitlines()]
    said = {words[0]: words[1:] for words in lines if len(words) > 1}
    keys = ("ttl", "pods", "cache")
    return {"fallthrough": said["fallthrough"], **{key: said[key][0] for key in keys}}


def parse_told(line: str) -> tuple[float, str]:
    """`30.06 NOERROR 10.96.77.78 (ttl 30)`; the TTL is that of the first answer each."""
    at, rcode, addresses = line.partition(" (ttl")[0].split(" ")
    return float(at), f"{rcode} {addresses}"


def show(message: bytes | None) -> str:
    assert message is not None
    answer = DNSRecord.parse(message)
    addresses = ",".join(sorted(str(each.rdata) for each in answer.rr))
    return f"{RCODE[answer.header.rcode]} {addresses}"


def compare_files(case: Case) -> Verdict:
    files = case.document["files"]
    address, name = files["/etc/hosts"].splitlines()[-1].split("\t")
    pod = {"metadata": {"name": name, "namespace": "demo"}, "spec": {}}
    found = {
        "/etc/resolv.conf": build_resolver(pod),
        "/etc/hosts": build_hosts(pod, address),
        "/etc/hostname": f"{name}\n",
    }
    wrong = tuple(f"{path}: {found[path]!r}" for path in files if files[path] != found[path])
    return Verdict(WRONG, wrong) if wrong else Verdict(MATCHED)
