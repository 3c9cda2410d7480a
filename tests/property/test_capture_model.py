"""The terminator against a simple TCP of the test's own, over a device that loses and reorders."""

from __future__ import annotations

import random
from collections import deque

from hypothesis import given, settings
from hypothesis import strategies as st

from ktnet.capture.budget import Budget
from ktnet.capture.commands import Deliver, FarSide, Finished, Send
from ktnet.capture.tcp import Phase, Terminator
from ktnet.wire.tcp import ACK, FIN, RST, SYN, Segment, SynOptions, sequence_add, sequence_delta

MSS = 100
SHIFT = 2
STEP_S = 0.05


class PlainTcp:
    """An application's socket: sends one stream, reads another, both to their ends.

    It goes back to the first byte that isn't acknowledged whenever nothing happens, and drops what
    comes out of order: as simple as a TCP can be.
    """

    def __init__(self, stream: bytes, initial_seq: int, dice: random.Random) -> None:
        self.stream = stream
        self.initial_seq = initial_seq
        self.dice = dice
        self.acknowledged = 0  # positions, the SYN being 0
        self.window = 1
        self.peer_seq: int | None = None  # the next one expected
        self.read = bytearray()
        self.buffered = 0  # bytes that the application hasn't read
        self.peer_ended = False

    @property
    def end(self) -> int:
        return len(self.stream) + 2  # the position behind the FIN

    def is_done(self) -> bool:
        return self.acknowledged == self.end and self.peer_ended

    def offered(self) -> int:
        return max(0, 4000 - self.buffered)

    def segment(self, flags: int, position: int, payload: bytes = b"") -> Segment:
        ack = self.peer_seq or 0
        seq = sequence_add(self.initial_seq, position)
        window = self.offered() >> (0 if flags & SYN else SHIFT)
        return Segment(1, 2, seq, ack, flags, window, memoryview(b""), memoryview(payload))

    def send_everything(self) -> list[Segment]:
        """All that the window allows, from the first byte that isn't acknowledged."""
        if self.peer_seq is None:
            return [self.segment(SYN, 0)]
        position = max(1, self.acknowledged)
        limit = self.acknowledged + max(1, self.window)  # one byte probes a closed window
        segments = []
        while position < min(limit, self.end):
            size = min(self.dice.randint(1, 300), limit - position, self.end - 1 - position)
            payload = self.stream[position - 1 : position - 1 + size]
            fin = position + size == self.end - 1 and position + size < limit
            segments.append(self.segment(ACK | (FIN if fin else 0), position, payload))
            position += size + fin
            if not size and not fin:
                break
        return segments or [self.segment(ACK, self.acknowledged)]

    def receive(self, send: Send) -> list[Segment]:
        assert not send.flags & RST
        self.acknowledged = max(
            self.acknowledged, sequence_delta(send.ack, self.initial_seq) if send.flags & ACK else 0
        )
        assert self.acknowledged <= self.end
        self.window = send.window << (0 if send.flags & SYN else SHIFT_OF_OURS)
        if send.flags & SYN:
            if self.peer_seq is None:
                self.peer_seq = sequence_add(send.seq, 1)
            return [self.segment(ACK, self.acknowledged)]
        if self.peer_seq is None:
            return []
        payload = b"".join(send.payload)
        behind = sequence_delta(self.peer_seq, send.seq)
        if 0 <= behind <= len(payload) and not self.peer_ended:
            new = payload[behind:][: self.offered()]
            self.read += new
            self.buffered += len(new)
            whole = behind + len(new) == len(payload)
            self.peer_ended = bool(send.flags & FIN) and whole
            self.peer_seq = sequence_add(self.peer_seq, len(new) + self.peer_ended)
        self.buffered = self.dice.randint(0, self.buffered)
        return [self.segment(ACK, self.acknowledged)]


SHIFT_OF_OURS = 7


class FarEnd:
    """What is at the far side: takes what comes, is sometimes full, and has a stream to send."""

    def __init__(self, stream: bytes, dice: random.Random) -> None:
        self.unsent = stream
        self.dice = dice
        self.taken = bytearray()
        self.ended = False
        self.paused = False
        self.full = False

    def is_done(self) -> bool:
        return self.ended and not self.unsent

    def obey(self, command: Deliver | FarSide) -> None:
        if isinstance(command, Deliver):
            self.taken += command.data
        elif command is FarSide.END:
            assert not self.ended
            self.ended = True
        elif command is FarSide.PAUSE:
            self.paused = True
        elif command is FarSide.RESUME:
            self.paused = False
        else:
            raise AssertionError(command)


class Device:
    """Carries segments one way: some get lost, doubled or late."""

    def __init__(self, dice: random.Random, trouble: float) -> None:
        self.dice = dice
        self.trouble = trouble
        self.under_way: deque[object] = deque()

    def put(self, item: object) -> None:
        chance = self.dice.random()
        if chance < self.trouble:
            return
        if chance < 1.3 * self.trouble:
            self.under_way.append(item)
        if chance < 1.6 * self.trouble and self.under_way:
            self.under_way.insert(self.dice.randrange(len(self.under_way)), item)
        else:
            self.under_way.append(item)

    def take(self) -> list[object]:
        items = list(self.under_way)
        self.under_way.clear()
        return items


@settings(max_examples=60, deadline=None)
@given(
    up=st.integers(0, 6000),
    down=st.integers(0, 6000),
    seed=st.integers(0, 2**32 - 1),
    trouble=st.sampled_from([0.0, 0.05, 0.3]),
)
def test_both_streams_arrive_whole_whatever_the_device_does(up, down, seed, trouble):
    dice = random.Random(seed)
    budget = Budget()
    application = PlainTcp(dice.randbytes(up), dice.getrandbits(32), dice)
    far = FarEnd(dice.randbytes(down), dice)
    terminator = Terminator(
        application.initial_seq, SynOptions(MSS, SHIFT), dice.getrandbits(32), budget, 0.0
    )
    to_us, to_application = Device(dice, trouble), Device(dice, trouble)
    now_s, stalled, finished = 0.0, 0, None
    for _ in range(20_000):
        now_s += STEP_S
        moved = False
        for segment in to_us.take():
            assert isinstance(segment, Segment)
            data = terminator.segment_received(segment, now_s)
            if data is not None:
                assert not far.full
                far.taken += data
        if dice.random() < 0.2:
            far.full = not far.full
            terminator.far_is_full(far.full)
        if far.unsent and not far.paused:
            size = dice.randint(1, 2000)
            terminator.far_sent(far.unsent[:size])
            far.unsent = far.unsent[size:]
        elif not far.unsent:
            terminator.far_ended()
        if terminator.deadline_s is not None and terminator.deadline_s <= now_s:
            terminator.time_out(now_s)
        for command in terminator.flush(now_s):
            if isinstance(command, Send):
                to_application.put(command)
            elif isinstance(command, Finished):
                finished = command
            else:
                far.obey(command)
        for send in to_application.take():
            assert isinstance(send, Send)
            moved = True
            for segment in application.receive(send):
                to_us.put(segment)
        stalled = 0 if moved else stalled + 1
        if moved or stalled > 4:
            for segment in application.send_everything() if not application.is_done() else []:
                to_us.put(segment)
        if finished is not None:
            break
    assert bytes(far.taken) == application.stream
    assert far.is_done()
    if finished != Finished(orderly=True):
        # Only the very last acknowledgement may have been lost for good: its sender is gone.
        assert application.is_done()
        assert terminator.phase is Phase.OPEN
    assert budget.held_bytes == 0
