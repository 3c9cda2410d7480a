from __future__ import annotations

from ktnet.capture.admission import (
    DESTINATION_LIMIT,
    LINE_LIMIT,
    OPENING_LIMIT,
    Admission,
    Turn,
)

Somebody = tuple[int, int]  # destination and number


def admit(admission: Admission[Somebody], destination: int, count: int) -> list[Turn]:
    return [admission.apply((destination, number), destination) for number in range(count)]


def test_limit_of_a_destination_and_the_order_of_its_line():
    admission: Admission[Somebody] = Admission()
    turns = admit(admission, 1, DESTINATION_LIMIT + 2)
    assert turns == [Turn.NOW] * DESTINATION_LIMIT + [Turn.LATER] * 2
    assert admission.leave((1, 5), 1) == (1, DESTINATION_LIMIT)
    assert admission.leave((1, 6), 1) == (1, DESTINATION_LIMIT + 1)
    assert admission.leave((1, 7), 1) is None
    assert admission.apply((1, 5), 1) is Turn.NOW


def test_limit_of_all_and_who_is_next():
    admission: Admission[Somebody] = Admission()
    full = OPENING_LIMIT // DESTINATION_LIMIT
    for destination in range(full):
        admit(admission, destination, DESTINATION_LIMIT + 1)
    assert admit(admission, full, 1) == [Turn.LATER]
    assert admission.leave((0, 0), 0) == (0, DESTINATION_LIMIT)  # it stood in line first
    assert admission.leave((0, 1), 0) == (full, 0)  # the other destinations are full


def test_limit_of_the_line():
    admission: Admission[Somebody] = Admission()
    admit(admission, 1, DESTINATION_LIMIT + LINE_LIMIT)
    assert admission.apply((1, -1), 1) is Turn.NEVER
    assert admission.apply((2, 0), 2) is Turn.NOW


def test_leaving_the_line_gives_nobody_a_turn():
    admission: Admission[Somebody] = Admission()
    admit(admission, 1, DESTINATION_LIMIT + 2)
    assert admission.leave((1, DESTINATION_LIMIT), 1) is None
    assert admission.leave((1, 0), 1) == (1, DESTINATION_LIMIT + 1)


def test_everybody_gets_a_turn_and_nothing_is_left():
    admission: Admission[Somebody] = Admission()
    everybody = [(destination, number) for destination in range(40) for number in range(100)]
    opening = [who for who in everybody if admission.apply(who, who[0]) is Turn.NOW]
    assert len(opening) == OPENING_LIMIT
    had_turn = []
    while opening:
        applicant = opening.pop()
        had_turn.append(applicant)
        following = admission.leave(applicant, applicant[0])
        if following is not None:
            opening.append(following)
    assert sorted(had_turn) == everybody
    for destination in range(OPENING_LIMIT // DESTINATION_LIMIT):
        assert set(admit(admission, destination, DESTINATION_LIMIT)) == {Turn.NOW}
