"""The parts of the embedder's process that need no model."""

import hashlib

import pytest

from mycoswarm.engines.minilm_child import VOCABULARY, VOCABULARY_SHA256, slices


def test_the_vocabulary_is_the_one_of_uncased_bert() -> None:
    data = VOCABULARY.read_bytes()
    words = data.decode().splitlines()
    assert len(words) == 30_522
    assert {name: words.index(name) for name in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")} == {
        "[PAD]": 0,
        "[UNK]": 100,
        "[CLS]": 101,
        "[SEP]": 102,
        "[MASK]": 103,
    }
    assert (words[1996], words[7592]) == ("the", "hello")
    assert hashlib.sha256(data).hexdigest() == VOCABULARY_SHA256


TEXTS = ["", "a", "one two three four", "x" * 25, "one " + "x" * 25, "a  b   c    d     e", " " * 30]


@pytest.mark.parametrize("text", TEXTS)
def test_slices_lose_nothing_and_cut_no_word_that_fits(text: str) -> None:
    pieces = list(slices(text, 8))
    assert "".join(pieces) == text
    assert all(len(piece) <= 8 for piece in pieces)
    if all(len(word) < 8 for word in text.split(" ")):
        assert [word for piece in pieces for word in piece.split()] == text.split()
