"""Stop strings, however the text is cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mycoswarm.engines.stops import Stops


def run(pieces: list[str], stops: tuple[str, ...]) -> tuple[list[str], str | None]:
    machine = Stops(stops)
    said: list[str] = []
    for piece in pieces:
        said.append(machine.feed(piece))
        if machine.met is not None:
            return said, machine.met
    said.append(machine.end())
    return said, None


@pytest.mark.parametrize(
    ("pieces", "stops", "said", "met"),
    [
        (["abc"], (), "abc", None),
        (["one two three"], ("two",), "one ", "two"),
        (["one t", "w", "o three"], ("two",), "one ", "two"),
        (["one t", "w", "ig"], ("two",), "one twig", None),
        (["one tw"], ("two",), "one tw", None),
        (["aab"], ("ab",), "a", "ab"),
        (["a", "a", "b"], ("ab",), "a", "ab"),
        (["x END"], ("", "END"), "x ", "END"),
        (["abc"], ("bc", "abc"), "", "abc"),
        (["abcd"], ("abcd", "ab"), "", "ab"),
        (["grüße", "n"], ("ßen",), "grü", "ßen"),
    ],
)
def test_table(pieces: list[str], stops: tuple[str, ...], said: str, met: str | None) -> None:
    told, found = run(pieces, stops)
    assert ("".join(told), found) == (said, met)


def test_text_is_held_back_only_where_a_stop_may_have_begun() -> None:
    machine = Stops(("STOP",))
    assert machine.feed("hello S") == "hello "
    assert machine.feed("o") == "So"
    assert machine.feed(" fine") == " fine"


def test_nothing_is_said_after_one_was_met() -> None:
    machine = Stops(("x",))
    assert machine.feed("axb") == "a"
    assert machine.feed("more") == ""
    assert machine.end() == ""


@given(st.lists(st.text("ab", max_size=4), max_size=8), st.lists(st.text("ab", min_size=1, max_size=3), max_size=3))
def test_it_finds_what_a_look_at_the_whole_text_finds(pieces: list[str], stops: list[str]) -> None:
    whole = "".join(pieces)
    told, met = run(pieces, tuple(stops))
    ends = [at + len(stop) for stop in stops if (at := whole.find(stop)) >= 0]
    if not ends:
        assert ("".join(told), met) == (whole, None)
        return
    assert met is not None
    said = "".join(told)
    assert whole.startswith(said + met)
    assert len(said) + len(met) == min(ends)
