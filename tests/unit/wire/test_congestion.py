from __future__ import annotations

from ktnet.wire.congestion import Congestion


class Sender:
    """Goes on when released; holds up the carrier again after `room` others."""

    def __init__(self, name, congestion, order, fills=False):
        self.name = name
        self.congestion = congestion
        self.order = order
        self.fills = fills

    def carrier_released(self):
        self.order.append(self.name)
        if self.fills:
            self.congestion.hold()
            self.congestion.wait(self)


def test_senders_go_on_in_the_order_they_came():
    congestion, order = Congestion(), []
    congestion.hold()
    for name in "abc":
        congestion.wait(Sender(name, congestion, order))
    congestion.release()
    assert order == ["a", "b", "c"]
    assert not congestion.congested
    congestion.release()
    assert order == ["a", "b", "c"]


def test_who_fills_the_carrier_again_goes_to_the_end_and_nobody_starves():
    congestion, order = Congestion(), []
    congestion.hold()
    for name in "abc":
        congestion.wait(Sender(name, congestion, order, fills=True))
    for _ in range(6):
        congestion.release()
        assert congestion.congested
    assert order == ["a", "b", "c", "a", "b", "c"]


def test_the_forgotten_are_not_called():
    congestion, order = Congestion(), []
    senders = [Sender(name, congestion, order) for name in "ab"]
    congestion.hold()
    for sender in senders:
        congestion.wait(sender)
    congestion.forget(senders[0])
    congestion.forget(senders[0])
    congestion.release()
    assert order == ["b"]
