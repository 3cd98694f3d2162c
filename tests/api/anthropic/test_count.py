from mycoswarm.api.anthropic import count
from mycoswarm.core.views import Counted


def test_an_estimate_says_so() -> None:
    exact, guessed = Counted(7, True, "m", "miu"), Counted(9, False, "m", "miu")
    assert (count.body(exact), count.headers(exact)) == (b'{"input_tokens":7}', ())
    assert count.body(guessed) == b'{"input_tokens":9}'
    assert list(count.headers(guessed)) == [(b"x-mycoswarm-estimate", b"1")]
