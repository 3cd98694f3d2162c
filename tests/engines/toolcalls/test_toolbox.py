"""Which tool a name means."""

import pytest

from mycoswarm.core.chat import Tool
from mycoswarm.engines.toolcalls.toolbox import Toolbox, bare

BOX = Toolbox([Tool("get_weather"), Tool("run-command"), Tool("setAlarm"), Tool("mcp__files__read")])


@pytest.mark.parametrize(
    ("name", "tool"),
    [
        ("get_weather", "get_weather"),
        ("get-weather", "get_weather"),
        ("getWeather", "get_weather"),
        (" Get Weather ", "get_weather"),
        ("functions.get_weather", "get_weather"),
        ("functions.get_weather:0", "get_weather"),
        ("default_api.get_weather", "get_weather"),
        ("run_command", "run-command"),
        ("set_alarm", "setAlarm"),
        ("mcp__files__read", "mcp__files__read"),
        ("`get_weather`", "get_weather"),
    ],
)
def test_spellings(name: str, tool: str) -> None:
    found = BOX.find(name)
    assert found is not None
    assert found.name == tool


@pytest.mark.parametrize("name", ["", "weather", "get_wether", "get_weather_tomorrow", "read"])
def test_others_are_not_found(name: str) -> None:
    assert BOX.find(name) is None


def test_a_near_name_is_enough_where_a_call_is_certain() -> None:
    found = BOX.nearest("get_wether")
    assert found is not None
    assert found.name == "get_weather"
    assert BOX.nearest("book_flight") is None


def test_two_that_are_as_near_are_none() -> None:
    box = Toolbox([Tool("get_weather_a"), Tool("get_weather_b")])
    assert box.nearest("get_weather_c") is None


def test_two_of_one_plain_spelling_are_told_apart_by_their_own() -> None:
    box = Toolbox([Tool("look_up"), Tool("lookUp")])
    assert [found.name for name in ("look_up", "lookUp") if (found := box.find(name))] == ["look_up", "lookUp"]
    assert box.find("LOOKUP") is None


def test_beginnings() -> None:
    assert BOX.begins("get_we")
    assert BOX.begins("run_c")
    assert not BOX.begins("weather")


def test_bare() -> None:
    assert bare("functions.a.b:2") == "a.b"
