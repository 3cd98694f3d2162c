"""[io] The process that holds one loaded model: llama.cpp's own server, through xllamacpp, on a Unix socket.

Usage: python -m mycoswarm.engines.llamacpp_child, one JSON line of `ChildConfig` on stdin, then stdin stays open: the
child ends when it closes. On stdout one JSON line of `ChildReady` once the model answers; llama.cpp writes to stderr.
"""

import importlib
import os
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from mycoswarm.engines.child_life import ChildReady, die_with_parent, take_stdout, tell


class ChildConfig(msgspec.Struct, frozen=True):
    """context: tokens of one slot. prompt_cache: bytes of RAM for prompts that left their slots."""

    model: str
    socket: str
    api_key: str
    parent: int
    context: int
    slots: int
    threads: int
    prompt_cache: int
    embed: bool = False
    mean_pooling: bool = False


def _end(config: ChildConfig) -> None:
    # os._exit: llama.cpp's destructors would wait for answers that nobody reads any more.
    with suppress(OSError):
        Path(config.socket).unlink()
    for directory in Path(config.socket).parents[:2]:
        with suppress(OSError):
            directory.rmdir()
    os._exit(0)


def _die_with_parent(config: ChildConfig) -> None:
    """Two independent ways, because a node that is killed must never leave gigabytes behind."""

    def wait() -> None:
        sys.stdin.buffer.read()
        _end(config)

    die_with_parent(config.parent, lambda: _end(config))
    threading.Thread(target=wait, daemon=True).start()


def _serve(config: ChildConfig) -> Any:
    # Before the library loads: with OpenMP's default spinning, two threads on a busy machine gave 1.6 tokens/s, not 28.
    os.environ["OMP_WAIT_POLICY"] = "passive"
    os.environ["OMP_NUM_THREADS"] = str(config.threads)
    # Its native module tells a type checker nothing.
    xllamacpp: Any = importlib.import_module("xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path = config.model
    params.hostnames = [config.socket]
    params.api_keys = [config.api_key]
    params.cors_origins = "http://localhost.invalid"
    params.ui = False
    params.endpoint_slots = False
    params.offline = True
    # Each slot has its own context of full length: in a shared one, a long neighbour would end an answer early.
    params.kv_unified = False
    params.n_ctx = config.context * config.slots
    params.n_parallel = config.slots
    # Between batches llama.cpp looks whether the client is still there and lets other slots decode: with its default of
    # 2048, a prompt of 3,600 tokens went on for 7 s after its client had left; with 512 for 1.4 s, at the same speed.
    params.n_batch = 512
    params.cache_ram_mib = config.prompt_cache >> 20
    params.cpuparams.n_threads = config.threads
    params.cpuparams_batch.n_threads = config.threads
    if config.embed:
        params.embedding = True
        if config.mean_pooling:
            params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
        # An embedding is computed in one batch: a shorter one would refuse texts that the context could hold.
        params.n_batch = params.n_ubatch = config.context
    return xllamacpp.Server(params)


def main() -> None:
    """The child's life."""
    report = take_stdout()
    config = msgspec.json.decode(sys.stdin.buffer.readline(), type=ChildConfig)
    _die_with_parent(config)
    try:
        server = _serve(config)
    except (RuntimeError, ImportError, MemoryError) as problem:
        tell(report, ChildReady(str(problem) or type(problem).__name__))
        os._exit(1)
    # Not before: while C++ loads, Python handles no signal, and the default ends the process at once.
    signal.signal(signal.SIGTERM, lambda _signal, _frame: _end(config))
    tell(report, ChildReady())
    while server is not None:
        signal.pause()


if __name__ == "__main__":
    main()
