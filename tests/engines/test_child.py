"""Why a child ended, from what it left."""

import signal

import pytest

from mycoswarm.engines.child import explain


@pytest.mark.parametrize(
    ("returncode", "tail", "why"),
    [
        (-signal.SIGKILL, (), "killed; most likely the machine ran out of memory"),
        (-signal.SIGILL, ("x",), "lacks an instruction"),
        (-signal.SIGSEGV, ("0.01 I srv  init: loading model",), "ended with SIGSEGV"),
        (
            -signal.SIGABRT,
            ("0.01 E srv: old error", "x.cpp:1: GGML_ASSERT(n > 0) failed"),
            "SIGABRT (x.cpp:1: GGML_ASSERT",
        ),
        (-signal.SIGABRT, ("ggml_abort: failed to allocate buffer of size 99",), "not enough memory"),
        (1, ("ModuleNotFoundError: No module named 'xllamacpp'",), "the engine is not installed"),
        (
            1,
            (
                "0.00.001 I srv  load_model: loading model 'x'",
                "0.00.002 E gguf_init: invalid magic characters: 'abcd', expected 'GGUF'",
                "0.00.003 E srv    load_model: failed to load model",
            ),
            "invalid magic characters: 'abcd', expected 'GGUF'",
        ),
        (3, ("first", "the last line"), "the last line"),
        (3, (), "its process ended with status 3"),
    ],
)
def test_reasons(returncode: int, tail: tuple[str, ...], why: str) -> None:
    assert why in explain(returncode, tail)
