"""From constrained JSON back to text and calls."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mycoswarm.engines.toolcalls.recognise import Piece, Said
from mycoswarm.engines.toolcalls.repair import Call, Hopeless
from mycoswarm.engines.toolcalls.toolbox import Toolbox
from mycoswarm.engines.toolcalls.unwrap import JsonText, Unwrapper
from tests.engines.toolcalls.corpus import outcome, tools

BOX = Toolbox(tools())


def run(written: str, *, size: int = 1, cut: bool = False, raw: bool = False) -> list[Piece]:
    unwrapper = Unwrapper(BOX, raw=raw)
    parts = [written[start : start + size] for start in range(0, len(written), size)]
    return [*(piece for part in parts for piece in unwrapper.feed(part)), *unwrapper.end(cut=cut)]


@given(st.text(), st.booleans(), st.integers(1, 9))
def test_text_is_unescaped_however_it_is_cut(text: str, ascii_only: bool, size: int) -> None:
    written = json.dumps({"answer": text}, ensure_ascii=ascii_only)
    found = outcome(run(written, size=size))
    assert found.text == text
    assert found.calls == found.notes == ()


def test_text_comes_while_it_streams() -> None:
    unwrapper = Unwrapper(BOX)
    given = ['{"ans', 'wer": "He', "llo\\", "n \\ud8", "3d\\u", 'de00 x"', "}"]
    assert [list(unwrapper.feed(part)) for part in given] == [
        [],
        [Said("He")],
        [Said("llo")],
        [Said("\n ")],
        [],
        [Said("😀 x")],
        [],
    ]
    assert list(unwrapper.end()) == []


@pytest.mark.parametrize(
    ("escaped", "text"),
    [(r"\ud83d x", "\ufffd x"), (r"\ude00", "\ufffd"), (r"\ud83d\n", "\ufffd\n"), (r"\ud83d\ud83d\ude00", "\ufffd😀")],
)
def test_half_a_pair_is_marked(escaped: str, text: str) -> None:
    reader = JsonText()
    assert "".join(reader.feed(letter) for letter in escaped + '"') == text
    assert reader.ended


def test_calls() -> None:
    one = '{"tool": "get_weather", "arguments": {"city": "Paris"}}'
    assert run(one) == [Call("get_weather", '{"city":"Paris"}')]
    several = f' {{ "calls" : [{one}, {{"tool": "get_time", "arguments": {{}}}}] }} '
    assert run(several) == [Call("get_weather", '{"city":"Paris"}'), Call("get_time", "{}")]


def test_a_call_that_the_tool_will_not_take_goes_out_with_a_word() -> None:
    found = run('{"tool": "get_weather", "arguments": {"city": "Paris", "days": "soon"}}')
    assert isinstance(found[0], Hopeless)
    assert found[1] == Call("get_weather", '{"city":"Paris","days":"soon"}')


def test_the_limit() -> None:
    assert [type(piece) for piece in run('{"tool": "get_weather", "arguments": {"ci', cut=True)] == [Hopeless]
    assert outcome(run('{"answer": "as far as', cut=True)).text == "as far as"
    assert run("", cut=True) == []
    assert run(" \n") == []


def test_an_answer_of_the_clients_schema_goes_out_as_it_is() -> None:
    assert outcome(run('{"answer": {"a": [1, "}"]} }', raw=True)).text == '{"a": [1, "}"]}'
    assert outcome(run('{"answer": {"a": [1', raw=True, cut=True)).text == '{"a": [1'
    assert outcome(run('{"answer": 42}', raw=True)).text == "42"
    assert outcome(run('{"answer": "x"}', raw=True)).text == '"x"'


def test_an_engine_that_took_no_notice_is_met_half_way() -> None:
    assert outcome(run("Plain words.")).text == "Plain words."
    assert outcome(run("{}")).text == "{}"
    assert run('Sure: {"tool": "get_time", "arguments": {}}')[-1] == Call("get_time", "{}")
    assert run('<tool_call>{"name": "get_time", "arguments": {}}</tool_call>') == [Call("get_time", "{}")]
    assert run('{"tool": "get_weather", "arguments": {"city": "Paris"') == [Call("get_weather", '{"city":"Paris"}')]
    assert outcome(run('{"answer": ["x"]}')).text


def test_blanks_without_end_are_not_waited_for() -> None:
    unwrapper = Unwrapper(BOX)
    written = "{" + " " * 30_000
    began = time.process_time()
    pieces = [piece for letter in written for piece in unwrapper.feed(letter)]
    assert time.process_time() - began < 4
    assert outcome([*pieces, *unwrapper.end()]).text == written
