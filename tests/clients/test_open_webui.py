"""Open WebUI, unchanged, over a node: it lists the models and holds a streamed chat, by both of its backends."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.clients.agents.install import environment
from tests.clients.two_nodes import port, swarm
from tests.swarm.lab import PYTHON, Machine, eventually, require

# 7 GB on disk, most of it libraries for GPUs; a minute to install with a quick index, another for its first start.
pytestmark = [pytest.mark.long, pytest.mark.swarm, pytest.mark.timeout(1800)]

PORT = 8080
TOKENS = 40
PACE_MS = 20
LOCK = Path(__file__).parent / "open_webui.lock"
STARTS_WITHIN = 240.0

_ASK = """
import json, sys, time, urllib.request

def call(path, body=None, token=""):
    headers = {"content-type": "application/json", "authorization": "Bearer " + token}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request("http://127.0.0.1:%s%s" % (sys.argv[1], path), data, headers)
    return urllib.request.urlopen(request, timeout=60)

token = json.load(call("/api/v1/auths/signin", {"email": "", "password": ""}))["token"]
models = [model["id"] for model in json.load(call("/api/models", token=token))["data"]]
chats = {}
for model in sys.argv[2:]:
    said = {"model": model, "stream": True, "messages": [{"role": "user", "content": "Count."}]}
    lines = [(time.monotonic(), line.decode()) for line in call("/api/chat/completions", said, token)]
    chats[model] = [(moment, line) for moment, line in lines if line.startswith("data: ")]
print(json.dumps({"models": models, "chats": chats}))
"""


@pytest.fixture
def boa(tmp_path: Path) -> Iterator[Machine]:
    """A machine with a node, without a model, and with Open WebUI."""
    require()
    programs = environment("open-webui", LOCK) / "bin"
    models = (f"counter-7b=echo:{TOKENS}", "writer=write")
    with swarm(tmp_path, models, ("--token-ms", str(PACE_MS))) as lab:
        boa = lab["boa"]
        base = f"http://127.0.0.1:{port(boa)}"
        home = tmp_path / "webui"
        home.mkdir()
        settings = {
            "HOME": str(home),
            "DATA_DIR": str(home / "data"),
            "PATH": f"{programs}:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "WEBUI_AUTH": "False",
            "WEBUI_SECRET_KEY": "of this test alone, and of nothing else",
            "OPENAI_API_BASE_URLS": f"{base}/v1",
            "OPENAI_API_KEYS": "none",
            "OLLAMA_BASE_URLS": base,
            # Both backends name the same models: this tells which of them was asked.
            "OLLAMA_API_CONFIGS": json.dumps({"0": {"enable": True, "prefix_id": "ollama"}}),
            "OFFLINE_MODE": "True",
            "HF_HUB_OFFLINE": "1",
            "RAG_EMBEDDING_ENGINE": "openai",
            "ENABLE_VERSION_UPDATE_CHECK": "False",
            "ANONYMIZED_TELEMETRY": "False",
            "DO_NOT_TRACK": "true",
            "SCARF_NO_ANALYTICS": "true",
        }
        words = [f"{name}={value}" for name, value in settings.items()]
        with (tmp_path / "webui.log").open("wb") as log:
            boa.start(
                "env", "-i", *words, str(programs / "open-webui"), "serve", "--host", "127.0.0.1", "--port", str(PORT),
                stderr=log,
            )  # fmt: skip
        eventually(lambda: boa.get_text(PORT, "/health"), STARTS_WITHIN, "Open WebUI answers", every=1.0)
        yield boa


def test_it_lists_the_models_and_streams_a_chat_by_both_backends(boa: Machine) -> None:
    asked = ("counter-7b", "ollama.counter-7b")
    started = time.monotonic()
    done = boa.run(PYTHON, "-c", _ASK, str(PORT), *asked, timeout=120)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert {"counter-7b", "writer", "ollama.counter-7b", "ollama.writer"} <= set(told["models"])
    for model in asked:
        moments = [moment for moment, line in told["chats"][model] if '"tok' in line]
        text = "".join(_words(line) for _, line in told["chats"][model])
        assert text == "".join(f"tok{number} " for number in range(TOKENS)), model
        # As it was written, and not when all of it was there.
        assert len(moments) == TOKENS
        assert moments[-1] - moments[0] > 0.7 * PACE_MS * TOKENS / 1000, model
    memory = sum(process.memory_info().rss for process in psutil.process_iter() if _is_webui(process))
    print(f"two chats and the list in {time.monotonic() - started:.1f} s; Open WebUI holds {memory / 1e6:.0f} MB")


def _words(line: str) -> str:
    data = line.removeprefix("data: ").strip()
    if not data.startswith("{"):
        return ""
    choices = json.loads(data).get("choices") or [{}]
    return (choices[0].get("delta") or {}).get("content") or ""


def _is_webui(process: psutil.Process) -> bool:
    try:
        return any(word.endswith("/open-webui") for word in process.cmdline()[:2])
    except psutil.Error:
        return False
