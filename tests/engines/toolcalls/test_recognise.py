"""The machine: what it holds back, what it lets go, and that nothing depends on the cuts. Formats are the corpus's."""

import itertools
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mycoswarm.engines.toolcalls.marks import CLOSERS, NAMED, OPENERS
from mycoswarm.engines.toolcalls.recognise import MAX_WITHHELD, Piece, Recogniser, Said, Thought
from mycoswarm.engines.toolcalls.repair import Call, Hopeless
from mycoswarm.engines.toolcalls.toolbox import Toolbox
from tests.engines.toolcalls.corpus import outcome, tools

BOX = Toolbox(tools())
CALL = '{"name": "get_time", "arguments": {}}'


def fed(*texts: str, thinks: bool = False) -> list[list[Piece]]:
    """What each piece of text makes certain; the end's last."""
    recogniser = Recogniser(BOX, thinks=thinks)
    return [*(list(recogniser.feed(text)) for text in texts), list(recogniser.end())]


def test_text_goes_out_at_once() -> None:
    assert fed("Hello", " world", ".") == [[Said("Hello")], [Said(" world")], [Said(".")], []]


def test_what_cannot_be_a_call_goes_out_at_once() -> None:
    assert fed('a {"x', '": 1') == [[Said("a")], [Said(' {"x": 1')], []]
    assert fed("<tool", "box>") == [[], [Said("<toolbox>")], []]
    assert fed("[1", ", 2]") == [[Said("[1")], [Said(", 2]")], []]
    assert fed('{"name": "Al', 'ice", "arguments": {') == [[], [Said('{"name": "Alice", "arguments": {')], []]
    assert fed("```rust\n", CALL) == [[Said("```rust")], [Said("\n" + CALL)], []]
    assert fed("get_weather ", "is") == [[Said("get_weather")], [Said(" is")], []]


def test_blanks_wait_for_what_follows() -> None:
    assert fed("a\n\n", "b") == [[Said("a")], [Said("\n\nb")], []]
    assert fed("a\n\n") == [[Said("a")], [Said("\n\n")]]
    assert fed("a\n\n", f"<tool_call>{CALL}</tool_call>\n") == [[Said("a")], [], [Call("get_time", "{}")]]


def test_a_call_goes_out_when_something_else_follows() -> None:
    recogniser = Recogniser(BOX)
    assert list(recogniser.feed(f"<tool_call>{CALL}</tool_call>")) == []
    assert list(recogniser.feed("\nDone")) == [Call("get_time", "{}"), Said("Done")]
    assert recogniser.calls == 1


def test_thought_is_told_apart_and_not_searched() -> None:
    pieces = fed("\n<thi", f"nk>x <tool_call>{CALL}</tool_call></th", "ink>\n\nyes", thinks=True)
    assert pieces == [[], [Thought(f"x <tool_call>{CALL}</tool_call>")], [Said("yes")], []]


def test_half_a_call_at_the_limit_stays_text() -> None:
    recogniser = Recogniser(BOX)
    assert list(recogniser.feed('<tool_call>{"name": "get_weather", "arguments": {"city": "Par')) == []
    ended = list(recogniser.end(cut=True))
    assert [type(piece) for piece in ended] == [Hopeless, Said]
    assert outcome(ended).notes == ("the answer was cut off in the middle of a call",)
    assert outcome(ended).text == '<tool_call>{"name": "get_weather", "arguments": {"city": "Par'


def test_a_whole_call_at_the_limit_is_one() -> None:
    recogniser = Recogniser(BOX)
    pieces = [*recogniser.feed(f"<tool_call>{CALL}"), *recogniser.end(cut=True)]
    assert pieces == [Call("get_time", "{}")]


@pytest.mark.parametrize("size", [1 << 30, 1 << 12])
def test_what_is_held_back_is_bounded(size: int) -> None:
    written = '<tool_call>{"name": "write_file", "arguments": {"content": "' + "x" * (MAX_WITHHELD + 10)
    recogniser = Recogniser(BOX)
    pieces = [
        piece for start in range(0, len(written), size) for piece in recogniser.feed(written[start : start + size])
    ]
    assert pieces
    assert outcome([*pieces, *recogniser.end()]).text == written


def test_a_long_call_in_small_pieces_costs_little() -> None:
    content = "print('hello')  # {x} [y] <z>\\n" * 1500
    written = f'<tool_call>{{"name": "write_file", "arguments": {{"path": "a", "content": "{content}"}}}}</tool_call>'
    recogniser = Recogniser(BOX)
    began = time.perf_counter()
    pieces = [piece for start in range(0, len(written), 4) for piece in recogniser.feed(written[start : start + 4])]
    pieces += recogniser.end()
    assert len(outcome(pieces).calls) == 1
    assert time.perf_counter() - began < 5


TOKENS = st.sampled_from(
    [
        *OPENERS,
        *NAMED,
        *CLOSERS[:12],
        *('{"name": ', '"get_time"', '"get_weather"', ', "arguments": ', '{"city": "Paris"}', "{}", "}", "]", "["),
        *(
            "get_time",
            "get_weather>",
            "(",
            ")",
            "city='x'",
            "```",
            "json\n",
            "tool_code\n",
            "\n",
            " ",
            ";",
            ",",
            "a",
            "<",
        ),
        *(
            "Action: get_time\n",
            "Action Input: ",
            "<think>",
            "</think>",
            "<parameter=city>",
            "</parameter>",
            CALL,
            "'",
            '"',
        ),
    ]
)


@settings(max_examples=600, deadline=None)
@given(st.lists(TOKENS, max_size=14), st.booleans(), st.booleans(), st.lists(st.integers(1, 200), max_size=8))
def test_cuts_change_nothing(parts: list[str], thinks: bool, cut: bool, cuts: list[int]) -> None:
    written = "".join(parts)
    edges = [0, *sorted({at for at in cuts if at < len(written)}), len(written)]
    whole, letters, pieces = (Recogniser(BOX, thinks=thinks) for _ in range(3))
    expected = outcome([*whole.feed(written), *whole.end(cut=cut)])
    found = [piece for letter in written for piece in letters.feed(letter)]
    assert outcome([*found, *letters.end(cut=cut)]) == expected
    found = [piece for start, stop in itertools.pairwise(edges) for piece in pieces.feed(written[start:stop])]
    assert outcome([*found, *pieces.end(cut=cut)]) == expected
    if not expected.calls and not expected.thought:
        assert expected.text == written or thinks


@pytest.mark.parametrize(
    "written",
    ["the form is {<name>: <value>} in all", "now({<a>: 1} and more", "{`a`: 1} is no JSON", "x {<|end|>, b: c} y"],
)
@pytest.mark.parametrize("size", [1, 7, 1 << 10])
def test_a_value_that_ends_where_it_begins_loses_nothing(written: str, size: int) -> None:
    parts = (written[at : at + size] for at in range(0, len(written), size))
    found = outcome([piece for each in fed(*parts) for piece in each])
    assert (found.text, found.calls) == (written, ())


MARKS_AND_WORDS = [*"[]{}`'\"<>:,\n x1", "```json\n", '"name"', '"arguments"', '"get_time"', "get_time(", ")", CALL]
MARKS_AND_WORDS += ["<tool_call>", "</tool_call>", "<function=get_time>", "</function>", "<parameter=a>", "Action: "]
MARKS_AND_WORDS += ["<think>", "</think>", "[TOOL_CALLS]", "<|end|>", "functions.", "  "]


@given(st.lists(st.sampled_from(MARKS_AND_WORDS), max_size=12), st.integers(1, 5))
@settings(max_examples=400, deadline=None)
def test_whatever_is_no_call_comes_out_whole(words: list[str], size: int) -> None:
    written = "".join(words)
    whole = [piece for each in fed(written) for piece in each]
    cut = [piece for each in fed(*(written[at : at + size] for at in range(0, len(written), size))) for piece in each]
    assert outcome(whole) == outcome(cut)
    if not outcome(whole).calls:
        assert outcome(whole).text == written


ENDLESS = ["[", "{", "`", '{"name":', '{"name": "get_time", ', "<tool_call>", "<function=get_time>", "[TOOL_CALLS]"]
ENDLESS += [" ", "\n", "get_time()\n", "<function=get_time>\n<parameter=a>\n", "[get_time(", "functools", "<arg_key>"]
HEADS = ["", "{ ", "<tool_call>", "<think>", "<parameter=", '[{"a": "', "<function=write_file><parameter=content>"]


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("endless", ENDLESS)
def test_a_model_that_has_lost_itself_costs_no_square_of_its_answer(head: str, endless: str) -> None:
    written = (head + endless * 30_000)[:30_000]
    recogniser = Recogniser(BOX)
    began = time.process_time()
    for letter in written:
        for _ in recogniser.feed(letter):
            pass
    for _ in recogniser.end():
        pass
    assert time.process_time() - began < 4


@pytest.mark.parametrize("head", ["<think>", '[{"a": "', '[1, "b", ', "```rust\n"])
def test_text_that_went_out_is_not_kept(head: str) -> None:
    recogniser = Recogniser(BOX, thinks=True)
    tracemalloc.start()
    try:
        for _ in range(2000):
            for _ in recogniser.feed(head + "x" * 1000):
                pass
            head = ""
        assert tracemalloc.get_traced_memory()[0] < 200_000
    finally:
        tracemalloc.stop()
