"""Calls that the engine found."""

from mycoswarm.engines.toolcalls.native import Native
from mycoswarm.engines.toolcalls.repair import Call, Hopeless
from mycoswarm.engines.toolcalls.toolbox import Toolbox
from tests.engines.toolcalls.corpus import tools


def native() -> Native:
    return Native(Toolbox(tools()))


def test_a_call_is_complete_when_the_next_begins_or_all_ends() -> None:
    calls = native()
    calls.begin(0, "a", "get_weather")
    calls.args(0, '{"city": ')
    assert list(calls.complete(last=False)) == []
    calls.args(0, '"Paris"}')
    calls.args(7, "of none that has begun")
    calls.begin(1, "b", "functions.get_time")
    assert list(calls.complete(last=False)) == [("a", Call("get_weather", '{"city": "Paris"}'))]
    assert list(calls.complete(last=True)) == [("b", Call("get_time", "{}"))]
    assert list(calls.complete(last=True)) == []


def test_beyond_repair_goes_out_as_it_was_written() -> None:
    calls = native()
    calls.begin(0, "a", "fly")
    calls.args(0, "to Rome")
    assert list(calls.complete(last=True)) == [
        ("a", Hopeless("fly", "there is no tool 'fly'")),
        ("a", Call("fly", "to Rome")),
    ]


def test_half_a_call_at_the_limit_is_none_but_a_whole_one_is() -> None:
    for text, kinds in (('{"city": "Par', [Hopeless]), ('{"city": "Paris"}', [Call])):
        calls = native()
        calls.begin(0, "a", "get_weather")
        calls.args(0, text)
        assert [type(result) for _, result in calls.complete(last=True, cut=True)] == kinds
