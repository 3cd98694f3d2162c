from hypothesis import given
from hypothesis import strategies as st

from mycoswarm.core.chat import (
    ChatRequest,
    ImagePart,
    Message,
    ResponseFormat,
    Sampling,
    TextPart,
    Tool,
    ToolChoice,
    message,
)
from mycoswarm.core.ids import EngineId, ModelName
from mycoswarm.core.model import ModelOffer, Speed
from mycoswarm.core.node import QueueLoad
from mycoswarm.routing.estimate import EXPECTED_TOKENS, Demand, demand, estimate

FAST = Speed(prefill=1000.0, decode=50.0, load=1e9, samples=3)


def offer(state: str = "loaded", speed: Speed | None = FAST, size: int | None = 2_000_000_000) -> ModelOffer:
    return ModelOffer(ModelName("m"), EngineId("embedded"), state, size=size, speed=speed)  # pyright: ignore[reportArgumentType]


def queue(running: int = 0, waiting: int = 0, slots: int = 1, wait: float = 0.0) -> QueueLoad:
    return QueueLoad(EngineId("embedded"), ModelName("m"), running, waiting, slots, wait)


def test_demand_counts_bytes_messages_images_and_tools() -> None:
    text = ChatRequest("m", (message("user", "x" * 400),))
    assert demand(text) == Demand(prompt=104, expected=EXPECTED_TOKENS)
    picture = ChatRequest("m", (Message("user", (TextPart("hi"), ImagePart("image/png", "AAAA"))),), max_tokens=16)
    seen = demand(picture)
    assert seen.vision
    assert seen.prompt > 600
    assert seen.expected == 16
    tool = ChatRequest("m", (message("user", "hi"),), tools=(Tool("add"),))
    assert demand(tool).tools
    off = ChatRequest("m", (message("user", "hi"),), tools=(Tool("add"),), tool_choice=ToolChoice("none"))
    assert not demand(off).tools
    shaped = ChatRequest("m", (message("user", "hi"),), Sampling(), response_format=ResponseFormat("json_object"))  # pyright: ignore[reportArgumentType]
    assert demand(shaped).json_schema


def test_a_loaded_measured_model_here_costs_prefill_and_decode_only() -> None:
    terms = estimate(Demand(500, 100), offer(), queue(), None, here=True, booked=0)
    assert (terms.link, terms.load, terms.wait) == (0.0, 0.0, 0.0)
    assert terms.prefill == 0.5
    assert terms.decode == 2.0
    assert terms.first_token == 0.5
    assert terms.total == 2.5
    assert terms.guessed == ()


def test_a_model_on_disk_costs_its_load() -> None:
    terms = estimate(Demand(0, 0), offer("on_disk"), None, None, here=True, booked=0)
    assert terms.load == 2.0
    unknown = estimate(Demand(0, 0), offer("on_disk", FAST, None), None, None, here=True, booked=0)
    assert unknown.load > 2.0
    assert "load" in unknown.guessed


def test_an_unmeasured_model_is_marked() -> None:
    terms = estimate(Demand(10, 10), offer(speed=None), None, 0.001, here=False, booked=0)
    assert set(terms.guessed) == {"prefill", "decode"}
    far = estimate(Demand(10, 10), offer(), None, None, here=False, booked=0)
    assert far.guessed == ("link",)


def test_a_free_slot_waits_for_nobody_and_a_full_queue_does() -> None:
    wanted = Demand(1000, 50)  # 2 s a request
    free = estimate(wanted, offer(), queue(running=3, slots=4), None, here=True, booked=0)
    assert free.wait == 0.0
    full = estimate(wanted, offer(), queue(running=4, waiting=3, slots=4), None, here=True, booked=0)
    assert full.wait == 2.0
    told = estimate(wanted, offer(), queue(running=4, waiting=3, slots=4, wait=9.0), None, here=True, booked=0)
    assert told.wait == 9.0


def test_own_bookings_count_before_the_peer_tells() -> None:
    terms = estimate(Demand(1000, 50), offer(), queue(slots=1), 0.001, here=False, booked=2)
    assert terms.wait == 4.0


figure = st.floats(0, 1e4, allow_nan=False)


@given(st.integers(0, 10**6), st.integers(0, 10**4), st.integers(0, 50), st.integers(0, 50), st.integers(1, 8), figure)
def test_more_work_more_queue_and_a_longer_link_never_make_it_sooner(
    prompt: int, expected: int, running: int, waiting: int, slots: int, rtt: float
) -> None:
    def cost(prompt: int, expected: int, waiting: int, rtt: float) -> float:
        load = queue(running, waiting, slots)
        return estimate(Demand(prompt, expected), offer(), load, rtt, here=False, booked=0).total

    base = cost(prompt, expected, waiting, rtt)
    assert cost(prompt + 10, expected, waiting, rtt) >= base
    assert cost(prompt, expected + 10, waiting, rtt) >= base
    assert cost(prompt, expected, waiting + 1, rtt) >= base
    assert cost(prompt, expected, waiting, rtt + 1) >= base
