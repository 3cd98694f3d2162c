"""What the scripted server says: a request in OpenAI's dialect in, the pieces of its answer out. Pure.

A model's script is chosen by its name's other half (`NAME=SCRIPT`); every answer follows from the request alone, so the
same request has the same answer on every run and on every path.

    write    asked with tools to create a file (INSTRUCTION): a call of the tool that writes files, and after its result
             a sentence; without tools the whole file as a fenced block, as editors without tools want it; else words
    call     with tools: a call of the first, or of the one that `tool_choice` names, its arguments filled by the schema
    echo:N   N words, `tok0 ` to `tokN-1 `
    embed    no chat: vectors
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

import msgspec

INSTRUCTION = re.compile(r'Create the file (?P<path>\S+) with exactly this content: (?P<content>[^\n"]+)')
"""What the script `write` understands, wherever it stands in a message."""

WRITTEN = "The file is written."
"""The script's last word, after the tool's result."""

_ARGUMENT_PIECE = 9
"""Letters: as small as a token, so that names, keys and escapes are all cut somewhere."""

_WRITERS = ("Write", "write", "write_file", "create_file", "WriteFile", "edit", "Edit")
"""Of Claude Code, of opencode and pi, of Qwen Code; then what others call it. In the order of preference."""

_PATHS = ("file_path", "filePath", "path", "filename", "absolute_path")
_TEXTS = ("content", "contents", "file_text", "text")
_SHELLS = ("shell", "shell_command", "exec_command", "Bash", "bash", "run_shell_command", "container.exec")
_COMMANDS = ("command", "cmd")


class Call(msgspec.Struct, frozen=True):
    """A tool call. arguments: the pieces of the JSON text."""

    id: str
    name: str
    arguments: tuple[str, ...]


class Answer(msgspec.Struct, frozen=True):
    """words: spaces included. finish: as OpenAI says it. prompt: tokens, one a word."""

    words: tuple[str, ...] = ()
    calls: tuple[Call, ...] = ()
    finish: str = "stop"
    prompt: int = 0

    @property
    def tokens(self) -> int:
        """Of the answer: one a piece."""
        return len(self.words) + sum(1 + len(call.arguments) for call in self.calls)


def chat(script: str, body: Mapping[str, Any]) -> Answer:
    """The answer to a body of /v1/chat/completions."""
    messages: list[Mapping[str, Any]] = list(body.get("messages") or ())
    prompt = sum(len(_text(message).split()) for message in messages)
    calls, words = _said(script, body, messages)
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    if calls:
        return Answer((), calls, "tool_calls", prompt)
    if limit is not None and limit < len(words):
        return Answer(tuple(words[:limit]), (), "length", prompt)
    return Answer(tuple(words), (), "stop", prompt)


def completion(script: str, body: Mapping[str, Any]) -> Answer:
    """The answer to a body of /v1/completions: one prompt, continued by words."""
    asked = body.get("prompt") or ""
    text = asked if isinstance(asked, str) else " ".join(map(str, asked))
    words = _echo(script) or _words(text)
    limit = body.get("max_tokens")
    if limit is not None and limit < len(words):
        return Answer(tuple(words[:limit]), (), "length", len(text.split()))
    return Answer(tuple(words), (), "stop", len(text.split()))


def vector(text: str, length: int) -> list[float]:
    """A vector that depends on the text alone; of quarters, so that no number is rounded on its way."""
    digest = hashlib.sha256(text.encode()).digest()
    return [((digest[index % len(digest)] + index) % 9 - 4) / 4 for index in range(length)]


def fill(schema: Mapping[str, Any]) -> Any:
    """The smallest value that fits a JSON schema, as far as tools and answer formats use one."""
    match schema:
        case {"const": value}:
            return value
        case {"enum": [first, *_]}:
            return first
        case {"anyOf": [first, *_]} | {"oneOf": [first, *_]}:
            return fill(first)
        case {"type": [first, *_]}:
            return fill({**schema, "type": first})
        case {"type": "object"} | {"properties": _}:
            properties: Mapping[str, Any] = schema.get("properties") or {}
            return {name: fill(properties.get(name, {})) for name in schema.get("required") or properties}
        case {"type": "array"}:
            return [fill(schema.get("items") or {})] if schema.get("minItems") else []
        case {"type": "integer" | "number"}:
            return schema.get("minimum", 1)
        case {"type": "boolean"}:
            return True
        case {"type": "null"}:
            return None
        case _:
            return "scripted"


def _said(
    script: str, body: Mapping[str, Any], messages: list[Mapping[str, Any]]
) -> tuple[tuple[Call, ...], list[str]]:
    if echoed := _echo(script):
        return (), echoed
    asked = next((_text(message) for message in reversed(messages) if message.get("role") == "user"), "")
    tools = _functions(body)
    if script == "call" and tools and not any(message.get("role") == "tool" for message in messages):
        return (_call(*_wanted(tools, body.get("tool_choice")), body),), []
    if script == "write" and (found := _instruction(messages)):
        index, path, content = found
        if any(message.get("role") == "tool" for message in messages[index:]):
            return (), _split(WRITTEN)
        if tools and (write := _write(tools, path, content)):
            return (_call(*write, body),), []
        if not tools:
            return (), _split(f"{PurePosixPath(path).name}\n```\n{content}\n```\n")
    match body.get("response_format"):
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)}}:
            return (), _split(json.dumps(fill(schema)))
        case {"type": "json_object"}:
            return (), _split(json.dumps({"answer": asked[:40]}))
        case _:
            return (), _words(asked)


def _echo(script: str) -> list[str]:
    kind, _, count = script.partition(":")
    return [f"tok{number} " for number in range(int(count))] if kind == "echo" else []


def _words(asked: str) -> list[str]:
    return _split(f"This is a scripted answer. You said: {asked[-200:]} – and that is all, naïve as it is.")


def _split(text: str) -> list[str]:
    return re.findall(r"\s*\S+\s*?|\s+$", text)


def _instruction(messages: list[Mapping[str, Any]]) -> tuple[int, str, str] | None:
    """Where the last instruction stands, the file's path, its content."""
    for index in range(len(messages) - 1, -1, -1):
        if messages[index].get("role") == "user" and (found := INSTRUCTION.search(_text(messages[index]))):
            return index, found["path"], found["content"].rstrip()
    return None


def _text(message: Mapping[str, Any]) -> str:
    match message.get("content"):
        case str(text):
            return text
        case list(parts):
            texts = [part.get("text") for part in parts if isinstance(part, dict)]  # pyright: ignore[reportUnknownVariableType]
            return "\n".join(text for text in texts if isinstance(text, str))
        case _:
            return ""


def _functions(body: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Name and schema of each tool that may be called."""
    if body.get("tool_choice") == "none":
        return {}
    tools: Iterable[Mapping[str, Any]] = body.get("tools") or ()
    functions = [tool["function"] for tool in tools if tool.get("type") == "function"]
    return {str(function["name"]): function.get("parameters") or {} for function in functions}


def _wanted(tools: Mapping[str, Mapping[str, Any]], choice: Any) -> tuple[str, Any]:
    match choice:
        case {"function": {"name": str(name)}} if name in tools:
            pass
        case _:
            name = next(iter(tools))
    return name, fill({"type": "object", **tools[name]})


def _write(tools: Mapping[str, Mapping[str, Any]], path: str, content: str) -> tuple[str, dict[str, Any]] | None:
    """The tool that writes files, or a shell, and its arguments; None where none of them does."""
    for name in _WRITERS:
        properties = _properties(tools, name)
        to, what = _first(_PATHS, properties), _first(_TEXTS, properties)
        if to and what:
            return name, _required(tools[name]) | {to: path, what: content + "\n"}
    if "input" in _properties(tools, "apply_patch"):
        patch = f"*** Begin Patch\n*** Add File: {path}\n+{content}\n*** End Patch\n"
        return "apply_patch", {"input": patch}
    for name in _SHELLS:
        properties = _properties(tools, name)
        if key := _first(_COMMANDS, properties):
            line = f"printf '%s\\n' '{content}' > '{path}'"
            command = ["sh", "-c", line] if properties[key].get("type") == "array" else line
            return name, _required(tools[name]) | {key: command}
    return None


def _properties(tools: Mapping[str, Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    return (tools.get(name) or {}).get("properties") or {}


def _required(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {name: fill((schema.get("properties") or {}).get(name, {})) for name in schema.get("required") or ()}


def _first(names: Iterable[str], properties: Mapping[str, Any]) -> str:
    return next((name for name in names if name in properties), "")


def _call(name: str, arguments: Any, body: Mapping[str, Any]) -> Call:
    text = json.dumps(arguments, ensure_ascii=False)
    pieces = tuple(text[at : at + _ARGUMENT_PIECE] for at in range(0, len(text), _ARGUMENT_PIECE))
    # The same for the same request, another for the next turn of one conversation.
    seed = f"{name} {text} {len(body.get('messages') or ())}"
    return Call("call_" + hashlib.sha256(seed.encode()).hexdigest()[:24], name, pieces)
