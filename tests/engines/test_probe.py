"""Speeds from timings."""

import pytest

from mycoswarm.core.chat import Usage
from mycoswarm.core.model import Speed
from mycoswarm.engines.probe import PROBE, estimate, learn, learn_vectors

SAMPLE = Usage(prompt_tokens=120, completion_tokens=24, cached_tokens=20, prefill_ms=200.0, decode_ms=480.0)


def test_the_first_answer_is_believed() -> None:
    assert learn(None, SAMPLE, 1e8) == Speed(prefill=500.0, decode=50.0, load=1e8, samples=1)


def test_an_estimate_is_forgotten_at_the_first_measurement() -> None:
    assert learn(estimate(10**9, 1e10), SAMPLE) == Speed(500.0, 50.0, samples=1)


def test_later_ones_count_for_less() -> None:
    known = Speed(500.0, 50.0, load=1e8, samples=1)
    slower = Usage(100, 20, prefill_ms=1000.0, decode_ms=2000.0)
    learned = learn(known, slower)
    assert learned is not None
    assert learned.prefill == pytest.approx(500 - 0.3 * 400)
    assert learned.decode == pytest.approx(50 - 0.3 * 40)
    assert (learned.load, learned.samples) == (1e8, 2)


def test_it_comes_near_in_a_few_answers() -> None:
    speed: Speed | None = Speed(500.0, 50.0, samples=1)
    for _ in range(12):
        speed = learn(speed, Usage(100, 20, prefill_ms=1000.0, decode_ms=2000.0))
    assert speed is not None
    assert speed.decode == pytest.approx(10, rel=0.1)


@pytest.mark.parametrize(
    "usage",
    [
        Usage(10, 24, prefill_ms=5.0),
        Usage(100, 3, cached_tokens=99, prefill_ms=5.0, decode_ms=60.0),
        Usage(100, 24),
        Usage(100, 24, prefill_ms=0.0, decode_ms=0.0),
    ],
)
def test_what_is_too_short_or_not_told_teaches_nothing(usage: Usage) -> None:
    assert learn(None, usage) is None
    known = Speed(500.0, 50.0, samples=3)
    assert learn(known, usage) == known


def test_half_a_measurement_is_used() -> None:
    learned = learn(Speed(500.0, 50.0, samples=1), Usage(5, 20, prefill_ms=1.0, decode_ms=2000.0))
    assert learned is not None
    assert learned.prefill == 500.0
    assert learned.decode < 50.0


def test_a_cache_that_is_not_told_of_is_not_taken_for_speed() -> None:
    known = Speed(500.0, 50.0, samples=1)
    cached = Usage(4000, 24, prefill_ms=20.0, decode_ms=480.0)
    learned = learn(known, cached, hidden_cache=True)
    assert learned is not None
    assert learned.prefill == 500.0
    assert learn(known, cached) != learned


def test_an_estimate_says_that_it_is_one() -> None:
    guess = estimate(size=10**9, bandwidth=2e10)
    assert not guess.measured
    assert guess.decode == pytest.approx(8.0)
    assert guess.prefill > guess.decode


def test_the_probe_is_small_and_reproducible() -> None:
    assert PROBE.max_tokens == 24
    assert PROBE.sampling.temperature == 0.0
    assert 60 <= sum(len(message.text.split()) for message in PROBE.messages) <= 120


def test_vectors_have_one_speed() -> None:
    first = learn_vectors(None, 1000, 0.5, 1e8)
    assert first == Speed(2000.0, 2000.0, 1e8, 1)
    slower = learn_vectors(first, 1000, 1.0)
    assert slower == Speed(1700.0, 1700.0, 1e8, 2)
    assert learn_vectors(first, 3, 0.5) == first, "a few words are mostly fixed cost"
    assert learn_vectors(Speed(9.0, 9.0, samples=0), 1000, 0.5) == Speed(2000.0, 2000.0, None, 1)
    assert learn_vectors(None, 1000, 0.0) is None
