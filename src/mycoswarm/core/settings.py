"""The settings: one table, from which files, environment, flags, `config show` and the documentation follow.

Precedence: flags > MYCOSWARM_* > config.toml > defaults. An unknown key is an error that names the nearest known one.
"""

import difflib
import math
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from mycoswarm.core.errors import InvalidRequest

HOME_VARIABLE = "MYCOSWARM_HOME"
"""Names the directories (`core.paths`), so it cannot be a setting that is read from one of them."""

Origin = Literal["flag", "environment", "file", "default"]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("must be text")
    return value


def _port(value: Any) -> int:
    number = _number(value)
    if not 0 <= number <= 65535:
        raise TypeError("must be a port, 0 to 65535")
    return number


def _number(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError("must be a whole number")
    try:
        return int(value)
    except ValueError:
        raise TypeError("must be a whole number") from None


def _at_least(least: int) -> Callable[[Any], int]:
    def parse(value: Any) -> int:
        number = _number(value)
        if number < least:
            raise TypeError(f"must be at least {least}")
        return number

    return parse


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError("must be a number of seconds")
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        raise TypeError("must be a number of seconds") from None
    if not math.isfinite(seconds):
        raise TypeError("must be a number of seconds")
    return seconds


def _list(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    if isinstance(value, list | tuple):
        items: list[Any] = list(value)  # pyright: ignore[reportUnknownArgumentType]
        if all(isinstance(item, str) for item in items):
            return tuple(items)
    raise TypeError("must be a list of texts")


def _choice(*allowed: str) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        if isinstance(value, bool):
            value = "yes" if value else "no"
        if value not in allowed:
            raise TypeError("must be one of " + ", ".join(allowed))
        return str(value)

    return parse


class Settings(msgspec.Struct, frozen=True):
    """The settings in force. Field names are the keys of config.toml."""

    name: str = ""
    port: int = 6926
    peer_port: int = 6927
    listen: str = "loopback"
    ollama_port: int = 0
    announce: str = "yes"
    peers: tuple[str, ...] = ()
    join: str = ""
    engines: tuple[str, ...] = ()
    embedded: str = "auto"
    embedder: str = "auto"
    models_dir: str = ""
    context: int = 4096
    slots: int = 4
    threads: int = 0
    keep_loaded: float = 300.0
    prefer: tuple[str, ...] = ()
    patience: float = 5.0
    stand_in: str = "auto"
    internet: str = "auto"
    log_level: str = "info"


@dataclass(frozen=True)
class Setting:
    """One row: how its value is read, and what it means."""

    key: str
    parse: Callable[[Any], Any]
    help: str


TABLE: tuple[Setting, ...] = (
    Setting("name", _text, "this machine's name in the swarm; empty: its host name"),
    Setting("port", _port, "user API and dashboard; 0: any free port"),
    Setting("peer_port", _port, "peer API, mutual TLS; 0: any free port"),
    Setting(
        "listen",
        _choice("loopback", "lan"),
        "who reaches the user API: loopback, this machine; lan, other machines too, by TLS and with an API key",
    ),
    Setting("ollama_port", _port, "also serve Ollama's API on this loopback port, e.g. 11434; 0: no"),
    Setting("announce", _choice("yes", "no"), "no: neither announce this node nor let peers in"),
    Setting("peers", _list, "HOST[:PORT] of members, for networks that block multicast"),
    Setting("join", _text, "a headless invitation to join by at the first start"),
    Setting("engines", _list, "addresses of engines beside those found on their usual local ports"),
    Setting("embedded", _choice("auto", "no"), "auto: run models with the built-in llama.cpp where the CPU can"),
    Setting("embedder", _choice("auto", "no"), "auto: give vectors with the built-in all-MiniLM where it is installed"),
    Setting("models_dir", _text, "where models lie; empty: the data directory"),
    Setting("context", _at_least(1), "tokens of context that embedded models and Ollama are given"),
    Setting("slots", _at_least(1), "answers that one embedded model writes at the same time"),
    Setting("threads", _at_least(0), "threads of an embedded model; 0: the physical cores"),
    Setting("keep_loaded", _seconds, "seconds that an idle embedded model stays in memory; negative: for ever"),
    Setting("prefer", _list, "models in the order in which `auto` takes them, before any measure of size"),
    Setting("patience", _seconds, "seconds to the first token that `auto` may cost"),
    Setting(
        "stand_in",
        _choice("auto", "no"),
        "auto: names of models that only vendors run (claude-…, gpt-…) mean `auto` or, for vectors, `embed`; "
        "no: they are unknown",
    ),
    Setting("internet", _choice("auto", "yes", "no"), "may this node fetch from the internet for its owner"),
    Setting("log_level", _choice("debug", "info", "warning", "error"), "how much the log says"),
)
_KEYS = {row.key: row for row in TABLE}


@dataclass(frozen=True)
class Loaded:
    """Settings and where each value came from."""

    settings: Settings
    origins: Mapping[str, Origin]


def load(
    file_text: str | None = None,
    environ: Mapping[str, str] = os.environ,
    flags: Mapping[str, Any] | None = None,
    file_name: str = "config.toml",
) -> Loaded:
    """Merge the sources.

    Args:
        file_text: text of config.toml, None where there is none.
        flags: from the command line; None values count as not given.

    Raises:
        InvalidRequest: unknown key or impossible value; the message names key and source.
    """
    values: dict[str, Any] = {}
    origins: dict[str, Origin] = {row.key: "default" for row in TABLE}

    def take(key: str, raw: Any, origin: Origin, source: str) -> None:
        if key not in _KEYS:
            near = difflib.get_close_matches(key, _KEYS, 1)
            hint = f"did you mean `{near[0]}`?" if near else "`mycoswarm config show` lists the known ones"
            raise InvalidRequest(f"unknown setting `{key}` in {source}", hint)
        try:
            values[key] = _KEYS[key].parse(raw)
        except TypeError as problem:
            raise InvalidRequest(f"setting `{key}` in {source} {problem}", _KEYS[key].help) from None
        origins[key] = origin

    if file_text is not None:
        try:
            table = tomllib.loads(file_text)
        except tomllib.TOMLDecodeError as problem:
            raise InvalidRequest(
                f"{file_name} is not valid TOML: {problem}", "mend the line, or remove the file"
            ) from None
        for key, raw in table.items():
            take(key, raw, "file", file_name)
    for variable in sorted(environ):
        if variable.startswith("MYCOSWARM_") and variable != HOME_VARIABLE:
            take(variable.removeprefix("MYCOSWARM_").lower(), environ[variable], "environment", variable)
    for key, raw in (flags or {}).items():
        if raw is not None:
            take(key, raw, "flag", "--" + key.replace("_", "-"))
    return Loaded(Settings(**values), origins)
