import errno
import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mycoswarm.core import errors
from mycoswarm.core.errors import (
    DiskFull,
    ErrorBody,
    Fixable,
    MycoError,
    NotWritable,
    from_body,
    from_os_error,
)

EVERY = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, MycoError)]

# Product decision: what a shell script sees.
EXIT_CODES = {
    "internal": 70,
    "invalid_request": 2,
    "context_too_long": 2,
    "method_not_allowed": 2,
    "too_large": 2,
    "not_found": 4,
    "unknown_model": 4,
    "refused": 5,
    "token_required": 5,
    "wrong_code": 5,
    "cannot_serve": 6,
    "busy": 1,
    "fixable": 1,
    "port_taken": 1,
    "not_writable": 1,
    "disk_full": 1,
    "model_corrupt": 1,
    "index_unreachable": 1,
    "engine_failed": 1,
    "peer_lost": 1,
    "daemon_unreachable": 3,
    "cancelled": 130,
}


def test_exit_codes_are_the_documented_ones() -> None:
    assert {kind.code: kind.exit_code for kind in EVERY} == EXIT_CODES


def test_every_code_is_used_once() -> None:
    assert len({kind.code for kind in EVERY}) == len(EVERY)


def test_the_drawn_tree_is_the_real_one() -> None:
    drawn: dict[str, tuple[str | None, int, int]] = {}
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"([ │├└─]*)(\w+) +(\d{3}) +exit (\d+)", line)
        if found is None:
            continue
        indent, name = len(found[1]), found[2]
        while above and above[-1][0] >= indent:
            above.pop()
        drawn[name] = (above[-1][1] if above else None, int(found[3]), int(found[4]))
        above.append((indent, name))
    real = {
        kind.__name__: (None if kind is MycoError else kind.__bases__[0].__name__, kind.status, kind.exit_code)
        for kind in EVERY
    }
    assert drawn == real


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
def test_every_error_survives_the_wire(kind: type[MycoError]) -> None:
    facts = {"near": ["a", "b"], "retry_after": 1.5}
    sent = kind("the sentence", "the hint", **facts)
    body = msgspec.json.decode(msgspec.json.encode(sent.body()), type=ErrorBody)
    back = from_body(body)
    assert type(back) is kind
    assert (back.message, back.hint, back.data) == ("the sentence", "the hint", facts)
    assert str(back) == "the sentence"
    assert (back.status, back.exit_code, back.retryable) == (kind.status, kind.exit_code, kind.retryable)


def test_a_code_of_a_newer_version_becomes_our_root() -> None:
    back = from_body(ErrorBody("quantum_flux", "it fluctuates", "wait"))
    assert type(back) is MycoError
    assert (back.message, back.hint) == ("it fluctuates", "wait")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
codes = st.sampled_from(sorted(EXIT_CODES)) | st.text()
names = st.sampled_from(["message", "hint", "self", "data"]) | st.text()


@given(st.builds(ErrorBody, codes, st.text(), st.text(), st.booleans(), st.dictionaries(names, json_values)))
def test_whatever_a_peer_calls_its_facts_they_become_an_error(body: ErrorBody) -> None:
    back = from_body(body)
    assert (back.message, back.hint, back.data) == (body.message, body.hint, body.data)
    again = from_body(msgspec.json.decode(msgspec.json.encode(back.body()), type=ErrorBody))
    assert again.body() == back.body()


def test_facts_of_two_errors_are_not_shared() -> None:
    body = ErrorBody("busy", "full", data={"retry_after": 1})
    from_body(body).data["retry_after"] = 2
    assert body.data == {"retry_after": 1}


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, DiskFull),
        (errno.EDQUOT, DiskFull),
        (errno.EACCES, NotWritable),
        (errno.EPERM, NotWritable),
        (errno.EROFS, NotWritable),
        (errno.EIO, Fixable),
    ],
)
def test_what_the_system_says_of_a_file_becomes_a_sentence(number: int, kind: type[MycoError]) -> None:
    problem = from_os_error(OSError(number, "the system's words"), Path("/data/models/x.gguf"))
    assert type(problem) is kind
    assert "/data/models" in problem.message
    assert problem.exit_code == 1


def test_a_full_disk_says_how_much_is_missing() -> None:
    problem = from_os_error(OSError(errno.ENOSPC, ""), Path("/data/x"), needed=145_000_000, free=12_000_000)
    assert problem.message == "the disk of /data is full (145 MB are needed, 12 MB are free)"
    assert problem.data == {"needed": 145_000_000, "free": 12_000_000}
