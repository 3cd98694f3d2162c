"""What JSON a text means."""

import json
import time
import warnings
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mycoswarm.engines.toolcalls.lenient import Unreadable, encode, python, read, strict

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(VALUES)
def test_what_is_right_is_not_touched(value: Any) -> None:
    assert read(json.dumps(value)) == value
    assert strict(encode(value)) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{'a': True, 'b': None, 'c': (1, 2)}", {"a": True, "b": None, "c": [1, 2]}),
        ('{"a": 1,}', {"a": 1}),
        ('{"a": "x\ny"}', {"a": "x\ny"}),
        ("{'a': 'it's so', 'b': \"x\"}", {"a": "it's so", "b": "x"}),
        ('{"a": "he said "hi" to me"}', {"a": 'he said "hi" to me'}),
        ('{"a": ""x"}', {"a": "x"}),
        ('{"a"": "x"}', {"a": "x"}),
        ('{"a" "x"}', {"a": "x"}),
        ('{"a":: 1,, "b": 2}', {"a": 1, "b": 2}),
        ('{"a": x"}', {"a": "x"}),
        ('{"arguments": "a": 1}}', {"arguments": {"a": 1}}),
        ("{a: true}", {"a": True}),
        ('{"a": [1, 2', {"a": [1, 2]}),
        ('{"a": 1 // why\n}', {"a": 1}),
        (r'{"a": "C:\dir"}', {"a": r"C:\dir"}),
        (r'{"a": "\d+",}', {"a": r"\d+"}),
    ],
)
def test_what_is_meant(text: str, value: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = read(text)
    assert found == value


@pytest.mark.parametrize("text", ["", "hello", "NaN", "[[" * 200, "b'x'", "1+2j"])
def test_what_nobody_can_read(text: str) -> None:
    with pytest.raises(Unreadable):
        read(text)


@pytest.mark.parametrize(
    "text",
    [
        "{" * 50_000,
        '{"a":' * 20_000,
        "[" * 20_000,
        "(" * 20_000,
        '"' * 50_000,
        '{"a": "' + 'x" ' * 20_000,
        "{'a': '" + "it's " * 20_000,
        '{"a": "' + "\\" * 50_001,
        "{a " * 20_000,
        "-" * 50_000,
    ],
    ids=lambda text: text[:8],
)
def test_nonsense_costs_little(text: str) -> None:
    began = time.perf_counter()
    with suppress(Unreadable):
        read(text)
    assert time.perf_counter() - began < 3


def test_python_is_read_silently_or_not_at_all() -> None:
    assert len(python("f(1)\ng(2)").body) == 2
    with pytest.raises(Unreadable):
        python("f(")
    with pytest.raises(Unreadable):
        python("x\0")


def test_what_json_cannot_say() -> None:
    with pytest.raises(Unreadable):
        encode({"a": object()})
