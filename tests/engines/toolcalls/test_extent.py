"""Where values end, in whole texts and in growing ones."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mycoswarm.engines.toolcalls.extent import JsonExtent, PythonExtent

VALUES = st.dictionaries(
    st.text(max_size=6),
    st.recursive(st.text() | st.integers() | st.none(), lambda inner: st.lists(inner, max_size=3), max_leaves=4),
    max_size=4,
)


@given(VALUES, st.text(max_size=10), st.booleans())
def test_right_json_ends_where_it_ends(value: object, behind: str, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    extent = JsonExtent(0)
    assert extent.look(text + behind, final=True) == len(text)
    assert extent.closed


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ('{"a": "he said "hi" to me"} x', 27),
        ("{'a': 'it's'} x", 13),
        ('{"a": [1, 2} x', 12),
        ('{"a": 1</tool_call>', 7),
        ('{"a": 1\n```', 8),
        ('{"a": "x}', None),
        ('{"a": {"b": 1}', None),
        ('{"a": "\\"}"} x', 12),
    ],
)
def test_broken_json(text: str, end: int | None) -> None:
    assert JsonExtent(0).look(text, final=True) == end


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("(a=1) x", 5),
        ("(a=')') x", 7),
        ("(a='it\\'s )') x", 13),
        ('(a="""x") )""") y', 15),
        ("[f(1), g({2: 3})] z", 17),
        ("(a='x)", None),
    ],
)
def test_python(text: str, end: int | None) -> None:
    assert PythonExtent(0).look(text, final=True) == end


@given(st.text(alphabet="{}[]()\"'\\,: ax<`\n", max_size=40))
def test_a_growing_text_ends_where_the_whole_does(tail: str) -> None:
    for kind, text in ((JsonExtent, "{" + tail), (PythonExtent, "(" + tail)):
        whole, growing = kind(0), kind(0)
        end = whole.look(text, final=True)
        for length in range(1, len(text) + 1):
            growing.look(text[:length], final=False)
        assert growing.look(text, final=True) == end
