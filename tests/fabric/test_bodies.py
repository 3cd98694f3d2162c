import pytest

from mycoswarm.core.errors import InvalidRequest, PeerLost
from mycoswarm.core.views import PullBody
from mycoswarm.fabric.bodies import answered, asked


def test_what_is_right_is_read() -> None:
    assert asked(b'{"name": "m", "newer": 1}', PullBody) == answered(b'{"name": "m"}', PullBody, "miu") == PullBody("m")


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"name": 5}'])
def test_what_is_not_is_refused_in_a_sentence(data: bytes) -> None:
    with pytest.raises(InvalidRequest, match="the peer's request is not understood"):
        asked(data, PullBody)
    with pytest.raises(PeerLost, match="miu said something that is not understood"):
        answered(data, PullBody, "miu")
