"""A node that is not one: the HTTP contract of the user port over scripted views and answers.

In a test: `with FakeNode(paths) as node`. As a process it takes the daemon's arguments:
`python -m tests.cli.fake_node run --private`, with the script in FAKE_NODE (JSON of `Script`).
"""

import argparse
import contextlib
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from mycoswarm.client.daemon import NodeFile
from mycoswarm.core import chat
from mycoswarm.core.access import KeyRemoved, Keys, NewKey
from mycoswarm.core.chat import ChatRequest, Delta, Finish, Note, Start, Text, Thinking, Usage, encode_delta
from mycoswarm.core.errors import (
    CannotServe,
    DiskFull,
    ErrorBody,
    MycoError,
    NotFound,
    TokenRequired,
    UnknownModel,
    WrongCode,
)
from mycoswarm.core.ids import NodeId, SwarmId
from mycoswarm.core.model import Progress
from mycoswarm.core.node import NodeView, SwarmInfo
from mycoswarm.core.paths import Paths, resolve
from mycoswarm.core.views import (
    AdmitBody,
    Admitted,
    CompareSame,
    Comparing,
    Expelled,
    HealthReport,
    InviteBody,
    JoinBody,
    Joined,
    Left,
    NodeDetail,
    NodeHistory,
    PullBody,
    Removed,
    Rotated,
    Routed,
)
from tests.cli import samples


class Script(msgspec.Struct):
    """How the fake behaves. pace: seconds between deltas. fail_after: deltas after which an Error comes.

    keeper: it is one. alone: in a swarm of its own, beside another. open_near: that one is open. waiting: who asks to
    be let in. verdict: of the keeper on this machine's comparison.
    """

    models: bool = True
    solo: bool = False
    pace: float = 0.0
    text: str = "The sky is blue because *short* waves scatter more."
    thinking: str = ""
    fail_after: int | None = None
    cut_after: int | None = None
    refuse: str = ""
    start_error: str = ""
    members_up: bool = True
    keeper: bool = False
    alone: bool = False
    open_near: bool = False
    healthy: bool = False
    lan: bool = False
    waiting: tuple[str, ...] = ()
    verdict: str = "joined"


class FakeNode:
    """Serves on a free loopback port; writes node.json and the token as a node does."""

    def __init__(self, paths: Paths, script: Script | None = None, *, private: bool = False) -> None:
        self.paths = paths
        self.script = script or Script()
        self.private = private
        self.requests: list[ChatRequest] = []
        self.calls: list[tuple[str, str, bytes]] = []
        self.looks = 0
        self.hung_up = threading.Event()
        self.stopped = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    def __enter__(self) -> "FakeNode":
        self.paths.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.paths.token_file.write_text("secret\n")
        self.become("x")
        self._thread.start()
        return self

    def become(self, node: str) -> None:
        """Say who is here."""
        said = NodeFile(self.port, os.getpid(), "0.1.0", self.private, node)
        self.paths.node_file.write_bytes(msgspec.json.encode(said))

    def __exit__(self, *_: object) -> None:
        self.paths.node_file.unlink(missing_ok=True)
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def detail(self) -> NodeDetail:
        script = self.script
        found = samples.detail(solo=script.solo, private=self.private, port=self.port, open_near=script.open_near)
        if script.keeper and found.swarm is not None:
            found = msgspec.structs.replace(
                found, swarm=msgspec.structs.replace(found.swarm, keepers=(samples.MIU, samples.BOA))
            )
        if script.alone:
            own = SwarmInfo(SwarmId("own"), "boa's swarm", 1, (samples.BOA,), True)
            found = msgspec.structs.replace(found, swarm=own, nearby=samples.detail(solo=True).nearby)
        if script.lan:
            found = msgspec.structs.replace(found, lan=("https://10.0.0.4:6926",))
        return found

    def comparison(self) -> Comparing:
        """The keeper decides at the second look."""
        self.looks += 1
        found = msgspec.structs.replace(samples.comparing(), confirmed=True)
        if self.looks < 2:
            return found
        match self.script.verdict:
            case "joined":
                moved = "boa's swarm" if self.script.alone else ""
                return msgspec.structs.replace(found, state="joined", joined=Joined(samples.swarm(), moved))
            case "refused":
                return msgspec.structs.replace(found, state="refused", why="the words were not the same there")
            case _:
                return msgspec.structs.replace(found, state="ended")

    def deltas(self, request: ChatRequest) -> list[Delta]:
        script = self.script
        node = request.prefer_node or request.model.partition("@")[2] or "miu"
        model = "gemma3:27b" if request.model == "auto" else request.model.partition("@")[0]
        found: list[Delta] = [
            Note("loading", f"loading {model} on {node}"),
            Start(request.id, model, samples.MIU, node, "embedded"),
        ]
        if request.why:
            found.append(Note("placement", data=msgspec.to_builtins(samples.placement())))
        if script.thinking:
            found += [Thinking(word) for word in _pieces(script.thinking)]
        last = request.messages[-1].text
        text = script.text.replace("{question}", last).replace("{turns}", str(len(request.messages)))
        offset = 0
        for piece in _pieces(text):
            found.append(Text(piece, offset))
            offset += len(piece.encode())
        count = sum(isinstance(delta, Text) for delta in found)
        found += [Finish("stop"), Usage(31, count, decode_ms=count * 20.0, prefill_ms=120.0)]
        if script.fail_after is not None:
            error = chat.Error(ErrorBody("peer_lost", "miu went away in the middle of the answer", "ask again"))
            found = [*found[: script.fail_after], error]
        if script.cut_after is not None:
            found = found[: script.cut_after]
        return [msgspec.structs.replace(delta, seq=seq) for seq, delta in enumerate(found)]


def _pieces(text: str) -> list[str]:
    """Tokens as engines give them: a word with the blank before it."""
    pieces, word = [], ""
    for char in text:
        if char in " \n" and word:
            pieces.append(word)
            word = ""
        word += char
    return [*pieces, word] if word else pieces


def _handler(node: FakeNode) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

        def _body(self) -> bytes:
            return self.rfile.read(int(self.headers.get("content-length") or 0))

        def _reply(self, data: Any, status: int = 200) -> None:
            raw = data if isinstance(data, bytes) else msgspec.json.encode(data)
            self.send_response(status)
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def _fail(self, error: MycoError) -> None:
            self._reply({"error": error.body()}, error.status)

        def _stream(self, lines: Any) -> None:
            self.send_response(200)
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            try:
                for line in lines:
                    for piece in (b"\n", line):
                        self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                    if node.script.pace:
                        time.sleep(node.script.pace)
                self.wfile.write(b"0\r\n\r\n")
            except OSError:
                node.hung_up.set()

        def _authorised(self) -> bool:
            if self.headers.get("authorization") == "Bearer secret":
                return True
            self._fail(TokenRequired("this needs the node's token"))
            return False

        def do_GET(self) -> None:
            script = node.script
            match urlsplit(self.path).path:
                case "/healthz":
                    self._reply({"status": "ok", "node": "x", "version": "0.1.0"})
                case "/swarm/v1/node":
                    self._reply(node.detail())
                case "/swarm/v1/nodes":
                    self._reply(samples.nodes(solo=script.solo, up=script.members_up))
                case "/swarm/v1/nodes/uncho":
                    self._reply(samples.history())
                case "/swarm/v1/nodes/boa":
                    self._reply(NodeHistory(samples.me(), ()))
                case "/swarm/v1/nodes/gone":
                    self._reply(NodeHistory(NodeView(NodeId("g" * 52), "gone", "removed", "it left the swarm"), ()))
                case "/swarm/v1/health":
                    self._reply(HealthReport(()) if script.healthy else samples.health())
                case "/swarm/v1/certificate":
                    self._reply(samples.certificate(lan=script.lan))
                case "/swarm/v1/keys":
                    if self._authorised():
                        self._reply(Keys((samples.key(),)))
                case "/metrics":
                    self._reply(b"mycoswarm_info 1\n")
                case "/swarm/v1/waiting":
                    if self._authorised():
                        self._reply(samples.waiting(*script.waiting))
                case "/swarm/v1/join/compare/run-0":
                    if self._authorised():
                        self._reply(node.comparison())
                case path if path.startswith("/swarm/v1/nodes/"):
                    self._fail(NotFound(f"there is no node '{path[16:]}' in this swarm", "did you mean `uncho`?"))
                case "/swarm/v1/models":
                    self._reply(samples.models(empty=not script.models))
                case "/swarm/v1/ps":
                    self._reply(samples.running(empty=not script.models))
                case path:
                    self._fail(MycoError(f"unexpected GET {path}"))

        def do_POST(self) -> None:
            body = self._body()
            path = urlsplit(self.path).path
            node.calls.append(("POST", self.path, body))
            if path == "/swarm/v1/chat":
                request = msgspec.json.decode(body, type=ChatRequest)
                node.requests.append(request)
                known = {model.name for model in samples.models(empty=not node.script.models).models} | {"auto"}
                name = request.model.partition("@")[0]
                if node.script.refuse:
                    self._fail(CannotServe(node.script.refuse, "is miu running? mycoswarm nodes"))
                elif name not in known:
                    self._fail(UnknownModel(f"no model `{name}`", "did you mean `gemma3:27b`?", near=["gemma3:27b"]))
                else:
                    self._stream(encode_delta(delta) for delta in node.deltas(request))
                return
            if path == "/swarm/v1/route":
                self._reply(Routed(samples.placement()))
                return
            if not self._authorised():
                return
            match path:
                case "/swarm/v1/invite":
                    asked = msgspec.json.decode(body, type=InviteBody)
                    self._reply(samples.invitation(founded=node.script.solo, open_for=asked.open))
                case "/swarm/v1/join":
                    wanted = msgspec.json.decode(body, type=JoinBody)
                    if wanted.code in ("7-guitar-lemon", ""):
                        self._reply(Joined(samples.swarm(), "boa's swarm" if wanted.move else ""))
                    else:
                        self._fail(WrongCode("the code is wrong; 2 tries are left", "read it again"))
                case "/swarm/v1/join/compare":
                    self._reply(samples.comparing())
                case "/swarm/v1/join/compare/run-0":
                    same = msgspec.json.decode(body, type=CompareSame).same
                    self._reply(
                        node.comparison() if same else msgspec.structs.replace(samples.comparing(), state="ended")
                    )
                case "/swarm/v1/admit":
                    told = msgspec.json.decode(body, type=AdmitBody)
                    self._reply(Admitted(node.script.waiting[int(told.run.removeprefix("run-"))], told.same))
                case "/swarm/v1/keys":
                    self._reply(NewKey(samples.key(), "myco-secret"))
                case "/swarm/v1/leave":
                    self._reply(Left("miu's swarm"))
                case "/swarm/v1/keepers" | "/swarm/v1/recover":
                    self._reply(msgspec.structs.replace(samples.swarm(), keepers=(samples.MIU, samples.BOA)))
                case "/swarm/v1/rotate":
                    node.become(samples.NARU)
                    self._reply(Rotated(samples.BOA, samples.NARU))
                case "/swarm/v1/models/pull":
                    self._stream(_pull(msgspec.json.decode(body, type=PullBody)))
                    node.script.models = True
                case "/swarm/v1/shutdown":
                    self._reply({})
                    node.paths.node_file.unlink(missing_ok=True)
                    node.stopped.set()
                case _:
                    self._fail(MycoError(f"unexpected POST {path}"))

        def do_DELETE(self) -> None:
            node.calls.append(("DELETE", self.path, b""))
            if not self._authorised():
                return
            parts = urlsplit(self.path)
            if parts.path.startswith("/swarm/v1/nodes/"):
                self._reply(Expelled(samples.UNCHO, unquote(parts.path.removeprefix("/swarm/v1/nodes/")), 1, 2))
                return
            if parts.path.startswith("/swarm/v1/keys/"):
                self._reply(KeyRemoved(samples.key(), 1))
                return
            if parts.path.startswith("/swarm/v1/keepers/"):
                self._reply(samples.swarm())
                return
            where = parse_qs(parts.query).get("node", ["boa"])[0]
            self._reply(Removed(unquote(parts.path.removeprefix("/swarm/v1/models/")), where, 145_000_000))  # type: ignore[arg-type]

    return Handler


def _pull(body: PullBody) -> list[bytes]:
    if body.name == "broken":
        error = DiskFull("the disk is full: 145 MB needed, 3 MB free", "free some").body()
        return [msgspec.json.encode({"error": error}) + b"\n"]
    total = 88_000_000
    steps = [Progress("download", f"fetching {body.name}", total * part // 20, total) for part in range(21)]
    steps += [Progress("requantise", "preparing the model file", done, 4) for done in range(5)]
    return [msgspec.json.encode(step) + b"\n" for step in [*steps, Progress("done", f"{body.name} is ready")]]


def main() -> int:
    """The daemon's command line, as far as the client uses it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("verb", choices=["run", "detect"])
    parser.add_argument("--private", action="store_true")
    parser.add_argument("--keep", action="store_true")
    arguments, _ = parser.parse_known_args()
    if arguments.verb == "detect":
        sys.stdout.buffer.write(msgspec.json.encode(samples.report()))
        return 0
    script = msgspec.json.decode(os.environ.get("FAKE_NODE", "{}"), type=Script)
    if script.start_error:
        sys.stderr.write(f"some log line\nerror: {script.start_error}\nhint: choose another one with --port\n")
        return 1
    with FakeNode(resolve(), script, private=arguments.private) as node:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: node.stopped.set())
        if arguments.private and not arguments.keep:
            threading.Thread(target=lambda: (sys.stdin.read(), node.stopped.set()), daemon=True).start()
        with contextlib.suppress(KeyboardInterrupt):
            node.stopped.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
