import pytest

from mycoswarm.core.errors import InvalidRequest
from mycoswarm.fabric import recovery
from mycoswarm.fabric.statements import recovery_id
from mycoswarm.fabric.words import WORDS
from tests.fabric.keys import PHRASE, recovery_key


def test_a_phrase_is_twelve_words_that_nobody_guesses() -> None:
    phrases = {recovery.new_phrase() for _ in range(50)}
    assert len(phrases) == 50
    assert all(len(phrase.split()) == 12 and set(phrase.split()) <= set(WORDS) for phrase in phrases)
    assert len(WORDS) ** 12 >= 2**120


def test_a_phrase_gives_one_key_for_ever_however_it_is_typed() -> None:
    key = recovery_key()
    # A vector: it must not change, since phrases lie on paper.
    assert key.id == "hrlw7cpqtc6kvflh2obymysbeqq3kna53azuoqhah77s36vgq6hq"
    assert recovery_id(key.public) == key.id
    typed = "  " + PHRASE.upper().replace(" ", ",\n", 3) + ". "
    assert recovery.key_of(typed).id == key.id
    numbered = " ".join(f"{number}. {word}" for number, word in enumerate(PHRASE.split(), 1))
    assert recovery.check_phrase(numbered) == PHRASE
    assert recovery.key_of(PHRASE.replace("acorn", "actor")).id != key.id


def test_a_wrong_word_is_named_with_a_near_one() -> None:
    with pytest.raises(InvalidRequest, match="`acorm` is not a word") as caught:
        recovery.check_phrase(PHRASE.replace("acorn", "acorm", 1))
    assert "`acorn`" in caught.value.hint
    with pytest.raises(InvalidRequest, match="not a word"):
        recovery.check_phrase("x" * 100_000)


@pytest.mark.parametrize("typed", ["", "acorn", PHRASE + " acorn", PHRASE.rpartition(" ")[0]])
def test_too_few_or_too_many_words_are_told(typed: str) -> None:
    with pytest.raises(InvalidRequest, match="12 words"):
        recovery.check_phrase(typed)
