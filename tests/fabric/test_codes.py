import pytest
from hypothesis import given
from hypothesis import strategies as st

from mycoswarm.core.errors import InvalidRequest
from mycoswarm.fabric import codes
from mycoswarm.fabric.words import WORDS


def test_the_words_are_enough_and_easy() -> None:
    assert len(set(WORDS)) == len(WORDS) >= 1024
    assert all(word.isascii() and word.isalpha() and word.islower() and 2 <= len(word) <= 10 for word in WORDS)


@given(st.sets(st.integers(1, 40)))
def test_spoken_codes_take_the_lowest_free_slot(taken: set[int]) -> None:
    code = codes.new_spoken(taken)
    assert code.slot == min(set(range(1, 42)) - taken)
    assert codes.parse(code.text) == code
    assert (code.life, code.tries) == (600.0, 3)


@pytest.mark.parametrize("typed", ["7-guitar-lemon", " 7 Guitar LEMON ", "7.guitar_lemon", "07 - guitar - lemon"])
def test_people_type_codes_in_many_ways(typed: str) -> None:
    assert codes.parse(typed) == codes.Code("7-guitar-lemon", 7)


@pytest.mark.parametrize("typed", ["", "guitar-lemon", "7-guitar", "7-guitar-lemon-x", "0-guitar-lemon", "x-a-b",
                                   "1000-guitar-lemon", "٧-guitar-lemon", "mycoswarm-join-", "mycoswarm-join-abc",
                                   "mycoswarm-join-!!!!", "9" * 5000 + "-guitar-lemon"])  # fmt: skip
def test_what_is_no_code_costs_no_try(typed: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        codes.parse(typed)
    assert caught.value.hint


def test_a_misspelt_word_is_named_with_its_neighbours() -> None:
    with pytest.raises(InvalidRequest, match="`guitr`") as caught:
        codes.parse("7-guitr-lemon")
    assert "`guitar`" in caught.value.hint


def test_headless_codes_hold_128_bits_and_a_slot_that_tells_nothing() -> None:
    one, other = codes.new_headless(), codes.new_headless()
    assert one.text.startswith("mycoswarm-join-")
    assert len(one.text) == len("mycoswarm-join-") + 26
    assert one.slot != other.slot
    assert one.slot > codes.MAX_SPOKEN_SLOT
    assert codes.parse(one.text.upper()) == one
    assert one.life == 24 * 3600.0


def test_the_open_code_cannot_be_typed() -> None:
    assert (codes.OPEN.slot, codes.OPEN.uses, codes.OPEN.life) == (0, 64, 600.0)
    for typed in (codes.OPEN.text, "0-guitar-lemon", "0-open-open"):
        with pytest.raises(InvalidRequest):
            codes.parse(typed)


def test_a_code_lets_one_machine_in_and_strangers_cannot_end_a_headless_one() -> None:
    spoken, headless = codes.parse("7-guitar-lemon"), codes.new_headless()
    assert (spoken.kind, spoken.uses, spoken.tries) == ("code", 1, 3)
    assert (headless.kind, headless.uses, headless.tries) == ("headless", 1, 1000)
