"""How every endpoint of OpenAI's dialect reads a body: typed fields, unknown ones kept, and a named field when it is
wrong. Pure."""

import re
from typing import Any, TypeVar

import msgspec

from mycoswarm.api.routes import decode_body
from mycoswarm.core.errors import InvalidRequest

_T = TypeVar("_T", bound=msgspec.Struct)

_AT = re.compile(r"^(?P<said>.*?)(?: - at `\$\.?(?P<path>.*)`)?$", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<field>[^`]*)`")
_WRONG_KIND = re.compile(r"Invalid value '(?P<kind>[^']*)'")
_TOKEN_IDS = re.compile(rb"\[\s*(\[\s*)?-?\d")
_NOT_HERE = {
    "input_audio": "no model here hears: send what was said as text",
    "file": "files are not read here: send their text",
    "input_file": "files are not read here: send their text",
}
"""Kinds of content that programs do send, and what to do instead."""

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


def refused(param: str, message: str, hint: str, code: str = "invalid_value") -> InvalidRequest:
    """The refusal of one field. code: theirs, e.g. `unsupported_parameter`."""
    return InvalidRequest(message, hint, param=param or None, code=code)


def read_body(body: bytes, decoder: msgspec.json.Decoder[_T]) -> _T:
    """A client's body. Raises InvalidRequest, naming the field and what is wrong with it."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as problem:
        raise _misfit(str(problem)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return decode_body(body, decoder)
    except InvalidRequest as problem:
        problem.data["code"] = "invalid_json"
        raise


def unknown_fields(body: bytes, kind: type[msgspec.Struct]) -> dict[str, Any]:
    """The fields of a body that `kind` does not have, for engines that may know them.

    `body` has been read as a `kind` before, so it is an object; what stands in its unknown fields was only skipped.
    """
    known = set(kind.__struct_encode_fields__)
    try:
        return {
            name: msgspec.json.decode(value)
            for name, value in _fields.decode(body).items()
            if name not in known and bytes(value) != b"null"
        }
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise InvalidRequest(f"the body is not JSON: {problem}", "send a JSON object", code="invalid_json") from None


def no_token_ids(body: bytes, field: str, hint: str) -> None:
    """Refuses numbers where text belongs; looked for first, because a list of them says what a program is doing."""
    try:
        given = _fields.decode(body).get(field)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    if given is not None and _TOKEN_IDS.match(bytes(given)):
        raise refused(
            field,
            f"`{field}` holds token ids: which text they stand for only their tokenizer knows",
            hint,
            "unsupported_value",
        )


def convert(value: Any, kind: type[_T], at: str) -> _T:
    """A part of a body that could only be typed once its neighbour was read. at: where it stands, e.g. `input[3]`."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as problem:
        raise _misfit(str(problem), at) from None


def _misfit(problem: str, at: str = "") -> InvalidRequest:
    found = _AT.match(problem)
    assert found is not None, "the pattern takes any text"
    said, path = found["said"], found["path"] or ""
    param = ".".join(part for part in (at, path) if part).replace(".[", "[")
    if missing := _MISSING.fullmatch(said):
        field = ".".join(part for part in (param, missing["field"]) if part)
        return refused(field, f"`{field}` is missing", "see /schema", "missing_required_parameter")
    if (wrong := _WRONG_KIND.fullmatch(said)) and param.endswith("type"):
        hint = _NOT_HERE.get(wrong["kind"], "see /schema")
        return refused(param, f"`{param}` is '{wrong['kind']}', which is not understood here", hint)
    if not param:
        return refused("", f"the request does not fit the API: {said}", "send a JSON object", "invalid_type")
    code = "invalid_type" if ", got `" in said else "invalid_value"
    return refused(param, f"`{param}` does not fit the API: {said}", "see /schema", code)
