import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mycoswarm.cli.markdown import Region, Stream, render, split
from tests.cli.screen import Screen

SAMPLE = """# Title

A paragraph with **bold**, `code` and 你好 that is long enough to be wrapped on a narrow terminal.

- one
- two
  - nested

1. first
2. second

| a | b |
|---|---|
| 1 | two |

```python
def f(x):
    return x + 1
```

> quoted

See [here](http://example.org/x). <b>tag</b>

Last words."""


def _stream(pieces: list[str], columns: int = 60, rows: int = 24) -> str:
    screen = Screen(columns, rows)
    clock = itertools.count()
    stream = Stream(lambda: (columns, rows), lambda: next(clock) * 0.0)
    for piece in pieces:
        screen.write(stream.feed(piece))
    screen.write(stream.end())
    return screen.text


def test_the_screen_shows_the_whole_answer(snapshot: object) -> None:
    assert _stream([SAMPLE]) == snapshot


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, len(SAMPLE)), max_size=40))
def test_the_pieces_in_which_it_came_leave_no_trace(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(SAMPLE)]
    pieces = [SAMPLE[start:end] for start, end in itertools.pairwise(edges)]
    assert _stream(pieces) == _stream([SAMPLE])


def test_a_block_longer_than_the_screen_stays_whole_in_the_scrollback() -> None:
    code = "```\n" + "\n".join(f"line {number}" for number in range(50)) + "\n```\n\nEnd."
    shown = _stream(list(code), rows=10)
    assert [line for line in shown.splitlines() if line.startswith("line")] == [f"line {n}" for n in range(50)]
    assert shown.endswith("End.")


@pytest.mark.parametrize("columns", [12, 20, 40, 200])
def test_nothing_is_written_over_the_right_edge(columns: int) -> None:
    assert "Last" in _stream([SAMPLE], columns=columns)


def test_finished_blocks_are_never_drawn_again() -> None:
    stream = Stream(lambda: (60, 24), lambda: 0.0)
    stream.feed("First block.\n\n")
    stream.feed("Second")
    for word in (" more", " words", " come"):
        assert "First" not in stream.feed(word)


def test_only_lines_that_changed_are_drawn() -> None:
    region = Region()
    assert region.draw(["a", "b"], 20, 10) == "a\nb\n"
    again = region.draw(["a", "c", "d"], 20, 10)
    assert "\x1b[1A" in again
    assert "a" not in again.replace("\x1b[1A", "")
    assert region.draw(["a", "c", "d"], 20, 10) == ""


def test_a_narrower_window_counts_the_rows_it_wrapped() -> None:
    region = Region()
    region.draw(["x" * 30], 40, 24)
    assert "\x1b[2A" in region.draw(["x" * 15, "x" * 15], 16, 24)


def test_slow_drawing_is_done_less_often() -> None:
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 0.05  # every look at the clock costs 50 ms, so one drawing takes 50 ms
        return now

    stream = Stream(lambda: (60, 24), clock)
    drawn = [stream.feed(f"word{number} ") for number in range(40)]
    assert sum(map(bool, drawn)) < 20
    assert "word39" in "".join(drawn) + stream.end()


@pytest.mark.parametrize(
    ("text", "complete", "growing"),
    [
        ("", "", ""),
        ("One", "", "One"),
        ("One\n\n", "", "One\n\n"),
        ("One\n\nTwo", "One\n\n", "Two"),
        ("- a\n\n- b\n", "", "- a\n\n- b\n"),
        ("One\n\n```\ncode\n\nmore", "One\n\n", "```\ncode\n\nmore"),
        ("# T\nText", "# T\n", "Text"),
        ("One\n\nTwo\n\nThree", "One\n\nTwo\n\n", "Three"),
    ],
)
def test_split(text: str, complete: str, growing: str) -> None:
    assert split(text) == (complete, growing)


def test_no_control_sequence_of_the_model_gets_through() -> None:
    hostile = "a\x1b[2Jb \x1b]0;title\x07 \x9b1m\n\n```\n\x1b[31mred\n```\n"
    stream = Stream(lambda: (60, 24), lambda: 0.0, colour=False)
    out = stream.feed(hostile) + stream.end()
    assert "\x1b[2J" not in out
    assert "\x1b]" not in out
    assert "\x1b[31m" not in out
    assert "\x9b" not in out


def test_html_is_text() -> None:
    assert render("use <b>this</b>\n\n<div>x</div>", 60, colour=False) == ["use <b>this</b>", "", "<div>x</div>"]


def test_without_colour_there_is_none() -> None:
    coloured = "\n".join(render(SAMPLE, 60))
    plain = "\n".join(render(SAMPLE, 60, colour=False))
    assert "\x1b[36m" in coloured
    assert not any(f"\x1b[{code}m" in plain for code in (*range(30, 38), *range(90, 98)))
