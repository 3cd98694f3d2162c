"""Finding marks in texts that are not whole."""

from hypothesis import given
from hypothesis import strategies as st

from mycoswarm.engines.toolcalls.marks import CLOSERS, CONNECTORS, NAMED, OPENERS, Marks

MARKS = Marks(["<tool_call>", "[tool_calls]", "["])


def test_finding() -> None:
    assert MARKS.find("ab <TOOL_CALL> [", 0) == 3
    assert MARKS.at("ab <Tool_Call>", 3) == 11
    assert MARKS.at("[tool_calls]", 0) == 12
    assert MARKS.at("[x", 0) == 1
    assert MARKS.find("ab", 0) is None


def test_beginnings() -> None:
    assert MARKS.begins("x <tool", 2)
    assert MARKS.begins("[", 0)
    assert not MARKS.begins("[x", 0)
    assert MARKS.unfinished("see <tool_") == 4
    assert MARKS.unfinished("see <toolx") == 10


def test_all_are_in_lower_case_and_none_is_two_things() -> None:
    every = [*OPENERS, *NAMED, *CLOSERS, *CONNECTORS]
    assert [mark for mark in every if mark != mark.lower()] == []
    assert len(set(every)) == len(every)


@given(st.sampled_from(OPENERS), st.text(max_size=20), st.data())
def test_a_mark_is_never_let_go_in_halves(mark: str, before: str, data: st.DataObject) -> None:
    marks = Marks(OPENERS)
    length = data.draw(st.integers(1, len(mark) - 1))
    text = before + mark[:length]
    assert marks.unfinished(text) <= len(before)
