import re

from mycoswarm.core.ids import new_request_id, short


def test_request_ids_are_fresh_and_fit_into_a_header_and_an_address() -> None:
    made = {new_request_id() for _ in range(1000)}
    assert len(made) == 1000
    assert all(re.fullmatch(r"req-[0-9a-f]{20}", one) for one in made)


def test_short_ids_are_the_beginning() -> None:
    assert short("abcdefghijkl") == "abcdefgh"
    assert short("abc") == "abc"
