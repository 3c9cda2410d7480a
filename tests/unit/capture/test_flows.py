from __future__ import annotations

from itertools import pairwise

import pytest
from flow_bench import LAPTOP, Bench, Far
from scapy.layers.inet import ICMP, IP, TCP

from ktnet.capture.admission import DESTINATION_LIMIT
from ktnet.wire.flow import OpenFailure

KERNEL_SYNS_S = (0, 1, 2, 3, 4, 5, 7, 11, 19, 35)


def open_flow(bench: Bench) -> Far:
    """The handshake of a connection between the default ports."""
    bench.gets_syn()
    far = Far()
    bench.openings[-1].receiver.opened(far)
    bench.flush()
    (syn_ack,) = bench.sent()
    assert syn_ack[TCP].flags == "SA"
    bench.gets(
        IP(src=LAPTOP, dst="10.96.0.1")
        / TCP(sport=40000, dport=80, seq=2, ack=syn_ack[TCP].seq + 1, flags="A")
    )
    return far


def test_a_syn_is_held_until_the_far_side_has_connected():
    bench = Bench()
    bench.gets_syn()
    assert bench.sent() == []
    assert bench.openings[0].target == ("10.96.0.1", 80)
    assert bench.openings[0].origin == (LAPTOP, 40000)
    bench.openings[0].receiver.opened(Far())
    assert bench.sent() == []  # not within the far side's call
    bench.flush()
    (syn_ack,) = bench.sent()
    assert (syn_ack.src, syn_ack.dst) == ("10.96.0.1", LAPTOP)
    assert (syn_ack[TCP].sport, syn_ack[TCP].dport) == (80, 40000)
    assert (syn_ack[TCP].flags, syn_ack[TCP].ack) == ("SA", 2)
    assert (bench.counters.flows_total, bench.counters.flows_open) == (1, 1)


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (OpenFailure.HOST_UNREACHABLE, 1),
        (OpenFailure.NETWORK_UNREACHABLE, 0),
        (OpenFailure.UNKNOWN_NAME, 1),
        (OpenFailure.PROHIBITED, 13),
        (OpenFailure.SHORTAGE, 1),
        (OpenFailure.TUNNEL_DOWN, 1),
    ],
)
def test_failures_become_icmp_from_the_destination(failure, code):
    bench = Bench()
    bench.gets_syn()
    bench.openings[0].receiver.open_failed(failure)
    (answer,) = bench.sent()
    assert (answer.src, answer.dst) == ("10.96.0.1", LAPTOP)
    assert (answer[ICMP].type, answer[ICMP].code) == (3, code)
    quoted = answer[ICMP].payload
    assert (quoted.src, quoted.dst, quoted.sport, quoted.seq) == (LAPTOP, "10.96.0.1", 40000, 1)
    assert len(bench.table) == 0
    assert bench.counters.flows_failed == 1


def test_refused_becomes_a_reset():
    bench = Bench()
    bench.gets_syn(seq=0xFFFFFFFF)
    bench.openings[0].receiver.open_failed(OpenFailure.REFUSED)
    (answer,) = bench.sent()
    assert (answer[TCP].flags, answer[TCP].seq, answer[TCP].ack) == ("RA", 0, 0)
    assert len(bench.table) == 0


def test_timed_out_becomes_silence():
    bench = Bench()
    bench.gets_syn()
    bench.openings[0].receiver.open_failed(OpenFailure.TIMED_OUT)
    assert bench.sent() == []
    assert len(bench.table) == 0
    bench.gets_syn()  # the kernel is still trying, so are we
    assert len(bench.openings) == 2


def test_an_application_that_waits_is_not_abandoned():
    bench = Bench()
    bench.gets_syn()
    (flow,) = bench.table.all_flows()
    for last_s, time_s in pairwise(KERNEL_SYNS_S):
        assert flow.deadline_s is not None
        assert flow.deadline_s > time_s + (time_s - last_s) / 8  # as late as its timer may be
        bench.time_s = time_s
        bench.gets_syn()
    assert len(bench.openings) == 1


@pytest.mark.parametrize(("syns", "gone_s"), [(1, 2.5), (2, 3.5), (6, 7.5), (8, 21.0)])
def test_an_application_that_gave_up_is(syns, gone_s):
    bench = Bench()
    for time_s in KERNEL_SYNS_S[:syns]:
        bench.time_s = time_s
        bench.gets_syn()
    (flow,) = bench.table.all_flows()
    assert flow.deadline_s == gone_s
    bench.time_s = gone_s
    flow.time_out(gone_s)
    assert bench.openings[0].cancelled
    assert len(bench.table) == 0
    assert bench.counters.flows_abandoned == 1
    assert bench.sent() == []


def test_another_initial_sequence_number_is_another_connection():
    bench = Bench()
    bench.gets_syn(seq=1)
    bench.gets_syn(seq=1)
    assert len(bench.openings) == 1
    bench.gets_syn(seq=2)
    assert [opening.cancelled for opening in bench.openings] == [True, False]
    assert len(bench.table) == 1


def test_another_connection_after_an_unanswered_syn_ack():
    bench = Bench()
    bench.gets_syn(seq=1)
    far = Far()
    bench.openings[0].receiver.opened(far)
    bench.flush()
    bench.sent()
    bench.gets_syn(seq=2)
    assert far.heard == ["reset"]
    assert bench.sent() == []
    assert len(bench.table) == 1
    assert bench.counters.flows_open == 0


def test_a_flow_in_time_wait_lives_on_beside_its_successor():
    bench = Bench()
    far = open_flow(bench)
    receiver = bench.openings[0].receiver
    receiver.pause_writing()
    receiver.eof_received()
    bench.flush()
    (fin,) = bench.sent()
    fields = {"sport": 40000, "dport": 80, "seq": 2, "ack": fin[TCP].seq + 1, "flags": "FA"}
    bench.gets(IP(src=LAPTOP, dst="10.96.0.1") / TCP(**fields) / b"late words")
    bench.sent()
    bench.gets_syn(seq=1000)
    assert len(bench.openings) == 2
    assert len(bench.table) == 2
    receiver.resume_writing()
    bench.flush()
    assert far.heard == [b"late words", "eof"]
    for flow in bench.table.all_flows():
        if flow.deadline_s == 1.0:
            bench.time_s = 1.0
            flow.time_out(1.0)
            bench.flush_soon(flow)
    bench.flush()
    assert len(bench.table) == 1


def test_sixty_four_at_once_to_one_destination_the_others_in_turn():
    bench = Bench()
    for port in range(1000):
        bench.gets_syn(1000 + port)
    assert len(bench.openings) == DESTINATION_LIMIT
    bench.gets_syn(destination="10.96.0.2:80")
    assert len(bench.openings) == DESTINATION_LIMIT + 1  # no other is held up by it
    for opening in bench.openings:  # grows meanwhile
        opening.receiver.opened(Far())
        bench.flush()
    assert [
        opening.origin[1] for opening in bench.openings if opening.target[0] == "10.96.0.1"
    ] == [*range(1000, 2000)]
    assert bench.counters.flows_open == 1001


def test_who_gives_up_in_the_line_is_not_dialled():
    bench = Bench()
    for port in range(DESTINATION_LIMIT + 2):
        bench.gets_syn(1000 + port)
    waiting = [flow for flow in bench.table.all_flows() if flow.source[1] == 1064]
    waiting[0].time_out(10.0)
    bench.openings[0].receiver.open_failed(OpenFailure.REFUSED)
    bench.flush()
    assert bench.openings[-1].origin[1] == 1065
    assert len(bench.openings) == DESTINATION_LIMIT + 1


def test_local_targets():
    bench = Bench({("198.18.0.2", 7): ("probe.ktnet.invalid", 7)})
    bench.gets_syn(destination="198.18.0.2:7")
    assert bench.openings[0].target == ("probe.ktnet.invalid", 7)
    bench.gets_syn(destination="198.18.0.2:8")
    assert len(bench.openings) == 1
    (answer,) = bench.sent()
    assert answer[TCP].flags == "RA"


@pytest.mark.parametrize(
    ("flags", "answer"),
    [
        ("A", ("R", 77, 0)),
        ("FA", ("R", 77, 0)),
        ("SA", ("R", 77, 0)),
        ("R", None),
        ("RA", None),
        ("F", ("RA", 0, 6)),
        ("SF", ("RA", 0, 7)),
        ("", ("RA", 0, 5)),
    ],
)
def test_segments_of_no_connection(flags, answer):
    bench = Bench()
    tcp = TCP(sport=40000, dport=80, seq=5, ack=77, flags=flags)
    bench.gets(IP(src=LAPTOP, dst="10.96.0.1") / tcp)
    sent = [(str(frame[TCP].flags), frame[TCP].seq, frame[TCP].ack) for frame in bench.sent()]
    assert sent == ([] if answer is None else [answer])
    assert bench.openings == []


def test_bytes_both_ways():
    bench = Bench()
    far = open_flow(bench)
    bench.openings[0].receiver.data_received(b"answer")
    assert bench.sent() == []
    bench.flush()
    (frame,) = bench.sent()
    assert bytes(frame[TCP].payload) == b"answer"
    bench.gets(
        IP(src=LAPTOP, dst="10.96.0.1")
        / TCP(sport=40000, dport=80, seq=2, ack=frame[TCP].seq + 6, flags="PA")
        / b"question"
    )
    assert far.heard == [b"question"]
    assert (bench.counters.bytes_up, bench.counters.bytes_down) == (8, 6)


def test_shut_answers_everybody():
    bench = Bench()
    far = open_flow(bench)
    bench.gets_syn(40001)
    for flow in bench.table.all_flows():
        flow.shut()
    assert far.heard == ["reset"]
    assert bench.openings[1].cancelled
    reset, unreachable = bench.sent()
    assert reset[TCP].flags == "RA"
    assert (unreachable[ICMP].type, unreachable[ICMP].code) == (3, 1)
    assert len(bench.table) == 0
    assert bench.counters.flows_open == 0


def test_what_a_far_side_says_too_late_is_ignored():
    bench = Bench()
    open_flow(bench)
    receiver = bench.openings[0].receiver
    for flow in bench.table.all_flows():
        flow.shut()
    bench.sent()
    receiver.data_received(b"late")
    receiver.pause_writing()
    receiver.resume_writing()
    receiver.eof_received()
    receiver.closed(reset=True)
    bench.flush()
    assert bench.sent() == []
    assert bench.budget.held_bytes == 0
