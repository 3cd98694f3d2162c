"""[io] The process that holds the built-in embedder: all-MiniLM-L6-v2 in int8, through onnxruntime.

Usage: python -m mycoswarm.engines.minilm_child, one JSON line of `MiniLMConfig` on stdin, then questions; the child
ends when stdin closes. On stdout one JSON line of `ChildReady`, then an answer a question. Both as MessagePack, each
with its length in four bytes before it: `Measure` gives `Measured`, `Embed` gives `Vectors`.

Texts go through the model one by one. A batch pads every text to its longest: on a processor that was slower (6,900
against 8,500 tokens/s) and took twice the memory, and a text's vector would depend on its neighbours'.
"""

import hashlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from mycoswarm.engines.child_life import ChildReady, die_with_parent, take_stdout, tell

VOCABULARY = Path(__file__).parent / "wordpiece" / "vocab.txt"
VOCABULARY_SHA256 = "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"

CONTEXT = 512
"""Positions that the model has, [CLS] and [SEP] among them."""

_SLICE = 1 << 16
"""Characters tokenised at once: the tokenizer's own tables take hundreds of bytes a token."""


class MiniLMConfig(msgspec.Struct, frozen=True):
    model: str
    parent: int
    threads: int


class Measure(msgspec.Struct, frozen=True, tag="measure"):
    texts: tuple[str, ...]


class Embed(msgspec.Struct, frozen=True, tag="embed"):
    """A text that is longer than the context is cut."""

    texts: tuple[str, ...]


class Measured(msgspec.Struct, frozen=True):
    """Tokens of each text."""

    tokens: tuple[int, ...]


class Vectors(msgspec.Struct, frozen=True):
    """Packed, of length 1, in order. tokens: that went through the model. seconds: that it took."""

    vectors: tuple[bytes, ...]
    tokens: int
    seconds: float


class Model:
    """The tokenizer and the network. Raises RuntimeError where one of the files is not what it should be."""

    def __init__(self, config: MiniLMConfig) -> None:
        # One thread pool is enough, and numpy computes nothing here that is worth a second one.
        os.environ["OPENBLAS_NUM_THREADS"] = "1"
        import numpy as np
        import onnxruntime
        from tokenizers.implementations.bert_wordpiece import BertWordPieceTokenizer

        if hashlib.sha256(VOCABULARY.read_bytes()).hexdigest() != VOCABULARY_SHA256:
            raise RuntimeError(f"{VOCABULARY.name} is not the vocabulary that the model was trained with")
        self._numpy: Any = np
        self._tokenizer: Any = BertWordPieceTokenizer(str(VOCABULARY), lowercase=True)
        self._begin, self._end = (self._tokenizer.token_to_id(token) for token in ("[CLS]", "[SEP]"))
        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = config.threads
        options.inter_op_num_threads = 1
        # Idle threads that spin would take a processor from the chat model beside them.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        self._session: Any = onnxruntime.InferenceSession(config.model, options, providers=["CPUExecutionProvider"])

    def measure(self, text: str) -> int:
        """Tokens of `text`, the two that enclose it included."""
        return 2 + sum(len(piece) for piece in self._pieces(text))

    def embed(self, text: str) -> tuple[bytes, int]:
        """Its vector, and the tokens that went through."""
        inner: list[int] = []
        for piece in self._pieces(text):
            inner += piece
            if len(inner) > CONTEXT:
                break
        ids = [self._begin, *inner[: CONTEXT - 2], self._end]
        np = self._numpy
        row = np.array([ids], np.int64)
        inputs = {"input_ids": row, "attention_mask": np.ones_like(row), "token_type_ids": np.zeros_like(row)}
        hidden = self._session.run(None, inputs)[0][0]
        mean = hidden.mean(axis=0)
        vector = mean / max(float(np.linalg.norm(mean)), 1e-12)
        return vector.astype("<f4").tobytes(), len(ids)

    def _pieces(self, text: str) -> Iterator[list[int]]:
        for piece in slices(text):
            yield self._tokenizer.encode(piece, add_special_tokens=False).ids


def slices(text: str, most: int = _SLICE) -> Iterator[str]:
    """`text` in pieces of at most `most` characters, cut at blanks where there are any, so that no word is cut."""
    begin = 0
    while len(text) - begin > most:
        blank = text.rfind(" ", begin, begin + most)
        end = blank + 1 if blank >= begin else begin + most
        yield text[begin:end]
        begin = end
    yield text[begin:]


def answer(model: Model, question: Measure | Embed) -> Measured | Vectors:
    """What the parent asked."""
    match question:
        case Measure(texts):
            return Measured(tuple(model.measure(text) for text in texts))
        case Embed(texts):
            began = time.monotonic()
            embedded = [model.embed(text) for text in texts]
            vectors = tuple(vector for vector, _ in embedded)
            return Vectors(vectors, sum(tokens for _, tokens in embedded), time.monotonic() - began)


def serve(model: Model, questions: BinaryIO, answers: BinaryIO) -> None:
    """Answer until the parent closes its end or is gone."""
    decoder = msgspec.msgpack.Decoder(Measure | Embed)
    while length := questions.read(4):
        question = decoder.decode(questions.read(int.from_bytes(length, "big")))
        data = msgspec.msgpack.encode(answer(model, question))
        answers.write(len(data).to_bytes(4, "big") + data)
        answers.flush()


def main() -> None:
    """The child's life."""
    answers = take_stdout()
    config = msgspec.json.decode(sys.stdin.buffer.readline(), type=MiniLMConfig)
    die_with_parent(config.parent, lambda: os._exit(0))
    try:
        model = Model(config)
    except Exception as problem:  # the process boundary: onnxruntime has error types of its own, all of them mean this
        sys.stderr.write(f"{type(problem).__name__}: {problem}\n")
        tell(answers, ChildReady(str(problem) or type(problem).__name__))
        sys.stderr.flush()
        os._exit(1)
    tell(answers, ChildReady())
    try:
        serve(model, sys.stdin.buffer, answers)
    except BrokenPipeError:
        # The parent is gone; nobody is left to tell.
        os._exit(0)


if __name__ == "__main__":
    main()
