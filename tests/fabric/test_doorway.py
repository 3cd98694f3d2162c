"""A flood displaces and delays itself, not the others."""

from hypothesis import given
from hypothesis import strategies as st

from mycoswarm.fabric import doorway
from mycoswarm.fabric.doorway import Doorway, Guest


def test_there_is_room_until_there_is_none() -> None:
    door = Doorway(0.0, capacity=2)
    first, nobody = door.enter("a")
    assert nobody is None
    _, nobody = door.enter("b")
    assert nobody is None
    door.leave(first)
    door.leave(first)
    assert len(door) == 1
    _, nobody = door.enter("c")
    assert nobody is None
    _, shown_out = door.enter("d")
    assert shown_out is not None
    assert len(door) == 2


def test_the_busiest_source_makes_room_the_oldest_first() -> None:
    door = Doorway(0.0, capacity=4)
    joiner, _ = door.enter("joiner")
    flood = [door.enter("flood")[0] for _ in range(3)]
    for expected in (*flood, None):
        newcomer, shown_out = door.enter("flood")
        if expected is not None:
            assert shown_out is expected
        flood.append(newcomer)
    other, shown_out = door.enter("other")
    assert shown_out is not None
    assert shown_out.source == "flood"
    # Two quiet ones stay, however long it goes on.
    for _ in range(100):
        _, shown_out = door.enter("flood")
        assert shown_out is not None
        assert shown_out.source == "flood"
    for guest in (joiner, other):
        door.leave(guest)
    assert len(door) == 2


def test_members_addresses_stay_when_the_flood_has_countless_addresses() -> None:
    door = Doorway(0.0, capacity=8)
    door.member_at("member")
    member, _ = door.enter("member")
    second, _ = door.enter("member")
    assert member.known
    for number in range(1000):
        _, shown_out = door.enter(f"forged-{number}")
        assert shown_out not in (member, second)
    # With nobody else to show out, members make room among themselves.
    crowd = Doorway(0.0, capacity=2)
    crowd.member_at("member")
    first, _ = crowd.enter("member")
    crowd.enter("member")
    assert crowd.enter("member")[1] is first


def test_handshakes_begin_at_a_pace_and_in_turn() -> None:
    door = Doorway(0.0, capacity=10_000)
    for _ in range(1000):
        door.enter("flood")
    joiner, _ = door.enter("joiner")
    begun = door.start(0.0)
    assert len(begun) == doorway.BURST
    # The joiner came last and has the second turn.
    assert begun[1] is joiner
    wait = door.wait()
    assert wait is not None
    assert door.start(wait / 2) == []
    assert len(door.start(wait * 1.01)) == 1
    assert len(door.start(10.0)) == doorway.BURST
    assert len(door.start(10.5)) == doorway.PACE / 2


def test_members_addresses_have_a_pace_of_their_own() -> None:
    door = Doorway(0.0, capacity=10_000)
    door.member_at("member")
    for _ in range(1000):
        door.enter("flood")
    door.start(0.0)
    member, _ = door.enter("member")
    assert door.start(0.0) == [member]
    assert door.wait() is not None


def test_nobody_waits_nobody_is_waited_for() -> None:
    door = Doorway(0.0)
    assert door.wait() is None
    assert door.show_out() is None
    guest, _ = door.enter("a")
    assert door.start(0.0) == [guest]
    assert door.wait() is None
    assert door.show_out() is guest


def test_addresses_of_members_are_not_remembered_without_end() -> None:
    door = Doorway(0.0)
    for number in range(doorway.MAX_KNOWN + 1):
        door.member_at(f"m{number}")
    assert not door.enter("m0")[0].known
    assert door.enter("m1")[0].known


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["enter", "leave", "start", "member"])), max_size=60))
def test_whatever_comes_the_books_are_in_order(events: list[tuple[str, str]]) -> None:
    door = Doorway(0.0, capacity=5)
    inside: list[Guest] = []
    for moment, (source, event) in enumerate(events):
        match event:
            case "enter":
                guest, shown_out = door.enter(source)
                inside.append(guest)
                if shown_out is not None:
                    inside.remove(shown_out)
            case "leave" if inside:
                door.leave(inside.pop(0))
            case "start":
                assert all(guest in inside for guest in door.start(float(moment)))
            case "member":
                door.member_at(source)
            case _:
                pass
        assert len(door) == len(inside) <= 5
    while inside:
        door.leave(inside.pop())
    assert len(door) == 0
    assert door.wait() is None
    assert door.start(1e6) == []
