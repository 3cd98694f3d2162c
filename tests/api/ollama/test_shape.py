import json

import pytest

from mycoswarm.api.ollama.shape import error_json, nanoseconds, stamp, status
from mycoswarm.core.errors import Busy, ContextTooLong, ErrorBody, MycoError, UnknownModel


def test_an_error_is_one_text() -> None:
    assert json.loads(error_json(Busy("full", "try again"))) == {"error": "full (try again)"}
    assert json.loads(error_json(ErrorBody("x", "bare"))) == {"error": "bare"}


def test_programs_find_the_words_that_they_look_for() -> None:
    for error in (UnknownModel("no node has a model named 'x'"), UnknownModel("no node has it").body()):
        assert json.loads(error_json(error))["error"].startswith("model not found: ")


@pytest.mark.parametrize(("problem", "code"), [(Busy(""), 503), (UnknownModel(""), 404), (ContextTooLong(""), 400)])
def test_statuses_are_theirs(problem: MycoError, code: int) -> None:
    assert status(problem) == code


def test_times() -> None:
    assert stamp(0) == "1970-01-01T00:00:00Z"
    assert stamp(1.5) == "1970-01-01T00:00:01.500000Z"
    assert (nanoseconds(None), nanoseconds(1.5)) == (0, 1_500_000)
