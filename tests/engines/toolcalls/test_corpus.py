"""Every case of the corpus, in one piece, letter by letter and cut at random: the same calls, the same text."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.engines.toolcalls.corpus import Case, cases, run


def test_there_are_enough_of_them() -> None:
    assert len(cases()) >= 120
    assert len({case.label for case in cases()}) == len(cases())


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.label)
def test_in_one_piece(case: Case) -> None:
    found = run(case)
    assert found.calls == case.calls
    assert found.text == case.text
    assert found.thought == case.thought
    assert bool(found.notes) == bool(case.hopeless)
    assert not case.hopeless or case.hopeless in found.notes[0]


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.label)
def test_letter_by_letter(case: Case) -> None:
    assert run(case, range(len(case.written))) == run(case)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(cases()), st.lists(st.integers(1, 400), max_size=12))
def test_cut_at_random(case: Case, cuts: list[int]) -> None:
    assert run(case, cuts) == run(case)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(cases()), min_size=2, max_size=3), st.lists(st.integers(1, 900), max_size=12))
def test_answers_that_hold_several(several: list[Case], cuts: list[int]) -> None:
    written = "\n\n".join(case.written for case in several)
    joined = Case("joined", "", written, (), "")
    assert run(joined, cuts) == run(joined)
    assert run(joined, range(len(written))) == run(joined)
