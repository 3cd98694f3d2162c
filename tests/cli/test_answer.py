import msgspec

from mycoswarm.cli.answer import Answer
from mycoswarm.core.chat import Delta, Error, Finish, Note, Start, Text, Thinking, Usage
from mycoswarm.core.errors import CannotServe, PeerLost
from mycoswarm.core.ids import NodeId, RequestId
from tests.cli import samples

START = Start(RequestId("r"), "gemma3:27b", NodeId("abcdefghijkl"), "miu", "ollama")


def _heard(*deltas: tuple[float, Delta]) -> Answer:
    answer = Answer(100.0)
    for now, delta in deltas:
        answer.feed(delta, now)
    answer.end()
    return answer


def test_figures_by_the_engines_clock() -> None:
    answer = _heard(
        (100.1, START), (100.4, Text("Hi")), (100.6, Text(" you")), (100.7, Finish("stop")),
        (100.7, Usage(10, 20, decode_ms=500.0)),
    )  # fmt: skip
    assert answer.text == "Hi you"
    assert answer.tokens_per_second == 40.0
    assert answer.footer() == "miu · gemma3:27b · 40.0 tokens/s · first token 0.40 s"
    assert answer.error is None


def test_figures_by_our_clock_where_the_engine_has_none() -> None:
    answer = _heard(
        (100.0, START), (101.0, Text("a")), (103.0, Text("b")), (103.0, Finish("stop")), (103.0, Usage(1, 5))
    )
    assert answer.tokens_per_second == 2.0


def test_no_speed_where_nothing_can_be_said() -> None:
    assert _heard((100.0, START), (101.0, Text("a")), (101.0, Finish("stop"))).tokens_per_second is None
    assert _heard((100.0, START), (101.0, Text("a")), (101.0, Usage(1, 1))).tokens_per_second is None


def test_a_thought_counts_as_the_first_token() -> None:
    answer = _heard((100.2, START), (100.5, Thinking("hm")), (109.0, Text("a")), (109.0, Finish("stop")))
    assert answer.first_token == 0.5
    assert answer.thinking == "hm"
    assert answer.as_json()["thinking"] == "hm"


def test_the_footer_names_what_was_unusual() -> None:
    cut = _heard(
        (100.1, START), (100.2, Text("a")), (100.2, Finish("length")), (100.3, Note("resumed", "resumed on naru"))
    )
    assert cut.footer() == "miu · gemma3:27b · first token 0.20 s · cut at the token limit · resumed on naru"


def test_an_error_keeps_the_text() -> None:
    body = CannotServe("miu is gone", "start it").body()
    answer = _heard((100.1, START), (100.2, Text("half")), (100.3, Error(body)))
    assert answer.text == "half"
    assert isinstance(answer.error, CannotServe)
    assert answer.as_json()["error"] == body


def test_a_stream_without_an_end_is_an_error() -> None:
    assert isinstance(_heard((100.1, START), (100.2, Text("half"))).error, PeerLost)


def test_a_stopped_answer_is_no_error() -> None:
    answer = Answer(0.0)
    answer.feed(START, 0.1)
    answer.stop()
    answer.end()
    assert answer.error is None
    assert answer.footer() == "miu · gemma3:27b · stopped"


def test_the_placement_is_read_from_its_note() -> None:
    answer = _heard((100.1, START), (100.1, Note("placement", data=msgspec.to_builtins(samples.placement()))))
    assert answer.placement == samples.placement()
    assert answer.notes == []
