import re

import pytest

from mycoswarm.core.health import Problem
from mycoswarm.telemetry.health import COUNTERS, FRESH, READINGS, Health
from mycoswarm.testing.virtual_clock import VirtualClock

REFUSED = "mycoswarm_joins_refused_total"


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def health(clock: VirtualClock) -> Health:
    return Health(clock)


def test_a_misdeed_is_told_while_it_is_fresh(health: Health, clock: VirtualClock) -> None:
    assert health.problems() == ()
    health.count(REFUSED, "10.0.0.9", reason="wrong-code")
    clock.advance(119.0)
    (told,) = health.problems()
    assert told == Problem(
        "joins-refused",
        "warning",
        "an attempt to join was refused, 2 min ago from 10.0.0.9",
        "if that was not you, somebody guesses: make codes only while you stand at the new machine",
    )
    clock.advance(FRESH - 119.0)
    assert health.problems() == ()
    assert health.total(REFUSED) == 1


def test_several_are_counted_and_the_last_one_is_named(health: Health, clock: VirtualClock) -> None:
    for address in ("10.0.0.7", "10.0.0.8", "10.0.0.9"):
        health.count(REFUSED, address, reason="wrong-code")
        clock.advance(20.0)
    (told,) = health.problems()
    assert told.message == "3 attempts to join were refused, the last one 20 s ago from 10.0.0.9"


def test_after_a_quiet_hour_counting_begins_anew(health: Health, clock: VirtualClock) -> None:
    health.count(REFUSED, "a", reason="wrong-code")
    clock.advance(FRESH)
    health.count(REFUSED, "b", reason="wrong-code")
    assert health.problems()[0].message == "an attempt to join was refused, just now from b"
    assert health.total(REFUSED) == 2


def test_where_nobody_knows_the_source_none_is_named(health: Health) -> None:
    health.count("mycoswarm_announcements_dropped_total", reason="flood")
    assert health.problems()[0].message == "an announcement on the network was ignored, just now"


def test_memory_is_bounded_whatever_a_stranger_calls_himself(health: Health) -> None:
    health.count(REFUSED, "x" * 100_000, reason="wrong-code")
    assert len(health.problems()[0].message) < 300


def test_what_was_no_guess_is_told_apart_and_is_no_warning(health: Health) -> None:
    for reason in ("busy", "unknown", "ended", "ended"):
        health.count(REFUSED, "10.0.0.8", reason=reason)
    (told,) = health.problems()
    assert (told.severity, told.message[:7]) == ("note", "4 times")
    health.count(REFUSED, "10.0.0.9", reason="words_differ")
    health.count(REFUSED, "10.0.0.7", reason="malformed")
    worst = [(one.severity, one.message.rpartition(" ")[2]) for one in health.problems()]
    assert worst == [("warning", "10.0.0.7"), ("warning", "10.0.0.9"), ("note", "10.0.0.8")]
    assert "sits between" in health.problems()[1].action


def test_what_is_no_misdeed_is_no_problem(health: Health) -> None:
    health.count("mycoswarm_joins_total", "10.0.0.9", way="code")
    assert health.problems() == ()


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, one in COUNTERS.items() if one.told is not None for value in ("x", *one.apart)],
)
def test_every_misdeed_is_a_sentence_with_what_to_do(health: Health, name: str, value: str, times: int) -> None:
    for _ in range(times):
        health.count(name, "10.0.0.9", **dict.fromkeys(COUNTERS[name].labels, value))
    (told,) = health.problems()
    assert "10.0.0.9" in told.message
    assert ("2 " in told.message) == (times == 2)
    assert told.message[0].islower() or told.message[0].isdigit()
    assert not told.message.endswith(".")
    assert told.action
    assert "{" not in told.message + told.action


def test_sources_are_asked_each_time_and_the_worst_comes_first(health: Health) -> None:
    known = [Problem("a", "note", "a", "x"), Problem("b", "error", "b", "x")]
    health.source(lambda: known)
    health.source(lambda: [Problem("c", "warning", "c", "x"), known[0]])
    assert [problem.id for problem in health.problems()] == ["b", "c", "a"]
    known.clear()
    known.append(Problem("d", "note", "d", "x"))
    assert [problem.id for problem in health.problems()] == ["c", "d"]


def test_a_counter_nobody_has_declared_cannot_be_counted(health: Health) -> None:
    with pytest.raises(KeyError):
        health.count("mycoswarm_typo_total")
    with pytest.raises(AssertionError):
        health.reading("mycoswarm_typo", dict)


def test_the_total_is_by_labels_or_of_all(health: Health) -> None:
    health.count(REFUSED, reason="wrong-code")
    health.count(REFUSED, reason="wrong-code")
    health.count(REFUSED, reason="expired")
    assert health.total(REFUSED) == 3
    assert health.total(REFUSED, reason="wrong-code") == 2
    assert health.total(REFUSED, reason="other") == 0


def test_the_page_is_prometheus_text(health: Health) -> None:
    health.count(REFUSED, reason='a "quoted" \\ reason\nof two lines')
    health.reading("process_resident_memory_bytes", lambda: {(): 73_400_321.0})
    health.reading("process_cpu_seconds_total", lambda: {(): 1.25})
    health.reading("mycoswarm_nodes", lambda: {(("state", "up"),): 2.0, (("state", "down"),): 0.0})
    page = health.metrics()
    assert 'mycoswarm_joins_refused_total{reason="a \\"quoted\\" \\\\ reason\\nof two lines"} 1\n' in page
    assert "mycoswarm_impostors_total 0\n" in page
    assert "process_resident_memory_bytes 73400321\n" in page
    assert "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total 1.25\n" in page
    assert 'mycoswarm_nodes{state="down"} 0\nmycoswarm_nodes{state="up"} 2\n' in page
    sample = re.compile(r'[a-z_]+(\{[a-z_]+="(\\.|[^"\\])*"(,[a-z_]+="(\\.|[^"\\])*")*\})? [0-9.e+-]+')
    for line in page.splitlines():
        assert line.startswith(("# HELP ", "# TYPE ")) or sample.fullmatch(line), line


def test_names_follow_prometheus_customs() -> None:
    for name, counter in COUNTERS.items():
        assert name.endswith("_total")
        assert counter.help.endswith(".")
    for name, reading in READINGS.items():
        assert name.endswith("_total") == (reading.kind == "counter")
        assert reading.help.endswith(".")
