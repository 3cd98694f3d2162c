import pytest

from mycoswarm.core.placement import Terms


def test_the_first_token_waits_for_everything_but_decoding() -> None:
    terms = Terms(link=0.5, load=1, wait=2, prefill=4, decode=8, wake=16)
    assert terms.first_token == pytest.approx(23.5)
    assert terms.total == pytest.approx(31.5)
