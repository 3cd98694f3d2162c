import pytest

from mycoswarm.api.ollama.options import read_format, read_keep, read_options, read_think
from mycoswarm.core.chat import ResponseFormat, Sampling
from mycoswarm.core.errors import InvalidRequest


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (None, None),
        ("", None),
        (0, 0.0),
        (300, 300.0),
        (2.5, 2.5),
        (-1, -1.0),
        ("0", 0.0),
        ("300", 300.0),
        ("-1", -1.0),
        ("5m", 300.0),
        ("1h30m", 5400.0),
        ("-1m", -1.0),
        ("1.5h", 5400.0),
        (".5s", 0.5),
        ("90s", 90.0),
        ("1500ms", 1.5),
        ("0s", 0.0),
        ("+10s", 10.0),
    ],
)
def test_how_long_a_model_stays(given: float | str | None, seconds: float | None) -> None:
    assert read_keep(given) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize("given", ["soon", "5m!", "m", "1h 30m", "--1m", "1e3", "9" * 400, "²"])
def test_what_is_no_duration_is_refused(given: str) -> None:
    with pytest.raises(InvalidRequest, match="keep_alive"):
        read_keep(given)


def test_options_that_everybody_knows_and_those_that_only_theirs_do() -> None:
    read = read_options(
        {
            "temperature": 0,
            "top_p": 0.5,
            "top_k": 40.0,
            "min_p": 0.1,
            "seed": 7,
            "stop": ["a", "", "b"],
            "num_predict": 9,
            "repeat_penalty": 1.2,
            "presence_penalty": 0.3,
            "frequency_penalty": 0.4,
            "num_ctx": 8192,
            "mirostat": 1,
            "num_gpu": None,
        }
    )
    assert read.sampling == Sampling(0, 0.5, 40, 0.1, 7, 0.3, 0.4, 1.2, ("a", "b"))
    assert read.max_tokens == 9
    assert read.rest == {"mirostat": 1}


@pytest.mark.parametrize("predict", [-1, -2, 0, None])
def test_an_answer_without_a_limit(predict: int | None) -> None:
    assert read_options({"num_predict": predict}).max_tokens is None


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": "warm"},
        {"temperature": True},
        {"top_k": 1.5},
        {"seed": 1 << 70},
        {"seed": []},
        {"stop": 5},
        {"stop": [1]},
        {"num_ctx": "large"},
        {"num_predict": {}},
    ],
)
def test_what_cannot_be_is_refused_by_its_name(options: dict[str, object]) -> None:
    (name,) = options
    with pytest.raises(InvalidRequest, match=name):
        read_options(options)


def test_formats() -> None:
    assert read_format(None) == read_format("") == ResponseFormat()
    assert read_format("json") == ResponseFormat("json_object")
    assert read_format({"type": "object"}) == ResponseFormat("json_schema", {"type": "object"})
    for wrong in ("xml", 5, [], True):
        with pytest.raises(InvalidRequest, match="format"):
            read_format(wrong)


def test_thinking() -> None:
    assert read_think(None) == (None, None)
    assert read_think(True) == (True, None)
    assert read_think(False) == (False, None)
    assert read_think("low") == (True, "low")
    assert read_think("max") == (True, "high")
    with pytest.raises(InvalidRequest, match="think"):
        read_think("hard")
