import fcntl
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from mycoswarm.client import daemon
from mycoswarm.core.errors import DaemonUnreachable, Fixable, InvalidRequest, MycoError, NotWritable, Refused
from mycoswarm.core.hardware import Report
from mycoswarm.core.paths import Paths
from tests.cli import samples
from tests.cli.fake_node import FakeNode


def _ended(pid: int, within: float = 5.0) -> bool:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if not daemon.alive(pid):
            return True
        time.sleep(0.02)
    return False


def test_no_file_is_no_node(paths: Paths) -> None:
    assert daemon.find(paths) is None
    with pytest.raises(DaemonUnreachable, match="no node runs") as caught:
        daemon.connect(paths)
    assert caught.value.exit_code == 3
    assert "mycoswarm up" in caught.value.hint


@pytest.mark.parametrize("text", ["", "{", '{"port": 1}', "[]"])
def test_a_damaged_file_is_no_node(paths: Paths, text: str) -> None:
    paths.state.mkdir(parents=True)
    paths.node_file.write_text(text)
    assert daemon.find(paths) is None


def test_a_stale_file_is_no_node(paths: Paths, node: FakeNode) -> None:
    assert daemon.find(paths) is not None
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    paths.node_file.write_text(json.dumps({"port": node.port, "pid": child.pid}))
    assert daemon.find(paths) is None, "its process is gone"
    paths.node_file.write_text(json.dumps({"port": 1, "pid": os.getpid()}))
    assert daemon.find(paths) is None, "its port does not answer"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell without the parent's help")
def test_a_process_that_ended_is_not_alive_before_its_parent_asked() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    assert _ended(child.pid)
    assert child.wait() == 0


@pytest.mark.usefixtures("fake_daemon")
def test_a_tied_node_ends_with_us(paths: Paths) -> None:
    ticks = []
    started = daemon.start(paths, ["--private"], tied=True, tick=lambda: ticks.append(1))
    found = daemon.find(paths)
    assert found is not None
    assert found == started.node
    assert found.private
    assert ticks
    started.end()
    assert not daemon.alive(found.pid)
    assert daemon.find(paths) is None


def test_a_tied_node_ends_when_we_are_killed(paths: Paths) -> None:
    code = """
        import sys, time
        from mycoswarm.client import daemon
        from mycoswarm.core.paths import resolve
        from tests.cli.drive import FAKE_DAEMON
        daemon.COMMAND = FAKE_DAEMON
        print(daemon.start(resolve(), ["--private"], tied=True).node.pid, flush=True)
        time.sleep(60)
    """
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert daemon.alive(pid)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert _ended(pid)


@pytest.mark.usefixtures("fake_daemon")
def test_a_kept_node_stays_until_it_is_told_to_end(paths: Paths) -> None:
    started = daemon.start(paths, ["--private", "--keep"], tied=False)
    assert daemon.find(paths) == started.node
    assert daemon.end(paths) == started.node
    started.end()
    assert daemon.end(paths) is None


@pytest.mark.usefixtures("fake_daemon")
def test_a_node_that_cannot_start_says_why(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_NODE", '{"start_error": "port 6926 is taken"}')
    paths.state.mkdir(parents=True)
    paths.log_file.write_text("error: something of yesterday\n")
    with pytest.raises(Fixable, match=r"^port 6926 is taken$") as caught:
        daemon.start(paths, tied=True)
    assert caught.value.hint == "choose another one with --port"
    assert caught.value.exit_code == 1


def test_a_node_that_hangs_is_given_up_and_ended(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon, "COMMAND", (sys.executable, "-c", "import time; time.sleep(60)"))
    monkeypatch.setattr(daemon.wait_ready, "__defaults__", (lambda: None, 0.3))
    monkeypatch.setattr(daemon, "END_TIMEOUT", 0.4)
    with pytest.raises(Fixable, match="did not get ready"):
        daemon.start(paths, tied=True)


@pytest.mark.usefixtures("fake_daemon")
def test_a_state_that_cannot_be_written_is_one_sentence(paths: Paths) -> None:
    paths.state.parent.mkdir(parents=True)
    paths.state.write_text("a file where the directory should be")
    with pytest.raises(NotWritable, match="cannot be written") as caught:
        daemon.start(paths, tied=True)
    assert "MYCOSWARM_HOME" in caught.value.hint


@pytest.mark.usefixtures("fake_daemon")
def test_detect_is_the_report_as_it_came() -> None:
    import msgspec

    assert msgspec.json.decode(daemon.detect(), type=Report) == samples.report()


@pytest.mark.parametrize(
    ("said", "code", "kind", "message", "hint"),
    [
        ("error: port 1 is taken\nhint: choose another\n", 1, Fixable, "port 1 is taken", "choose another"),
        ("INFO starting\nerror: bad setting\n", 2, InvalidRequest, "bad setting", "`mycoswarm logs` may tell more"),
        ("error: first\nhint: one\nerror: last\nhint: two\n", 1, Fixable, "last", "two"),
        (
            "Traceback:\nModuleNotFoundError: no x\n",
            1,
            Fixable,
            "ModuleNotFoundError: no x",
            "`mycoswarm logs` may tell more",
        ),
        ("", 70, MycoError, "the node ended at once with exit code 70", "`mycoswarm logs` may tell more"),
        ("", -9, Fixable, "the node ended at once with exit code -9", "`mycoswarm logs` may tell more"),
    ],
)
def test_the_reason_is_what_it_said_last(said: str, code: int, kind: type[MycoError], message: str, hint: str) -> None:
    error = daemon.reason(said, code)
    assert (type(error), error.message, error.hint) == (kind, message, hint)


def test_a_node_that_comes_back_under_another_id_is_waited_for(node: FakeNode) -> None:
    assert not daemon.wait_for(node.paths, "after", timeout=0.2)
    threading.Timer(0.2, node.become, ("after",)).start()
    assert daemon.wait_for(node.paths, "after", timeout=5.0)


def test_a_node_that_is_gone_is_not_waited_for(paths: Paths) -> None:
    begun = time.monotonic()
    assert not daemon.wait_for(paths, "after", timeout=30.0)
    assert time.monotonic() - begun < 5.0


def _lived_in(paths: Paths) -> None:
    for folder in (paths.config, paths.state, paths.cache / "downloads", paths.models / "m"):
        folder.mkdir(parents=True)
    for file in (paths.settings_file, paths.log_file, paths.token_file, paths.models / "m" / "model.gguf"):
        file.write_text("x")


def test_a_purge_leaves_nothing(paths: Paths) -> None:
    _lived_in(paths)
    daemon.purge(paths, keep_models=False)
    assert not paths.state.parent.exists()
    daemon.purge(paths, keep_models=False)


def test_a_purge_can_spare_the_models(paths: Paths) -> None:
    _lived_in(paths)
    (paths.data / "history.db").write_text("x")
    daemon.purge(paths, keep_models=True)
    left = [path.relative_to(paths.data) for path in paths.state.parent.rglob("*") if path.is_file()]
    assert left == [Path("models/m/model.gguf")]


def test_a_purge_follows_no_link_out_of_its_own_folders(paths: Paths, tmp_path: Path) -> None:
    _lived_in(paths)
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("x")
    (paths.data / "linked").symlink_to(precious)
    moved = tmp_path / "big disk"
    paths.cache.rename(moved)
    paths.cache.symlink_to(moved)
    daemon.purge(paths, keep_models=False)
    assert (precious / "file").exists()
    assert not paths.cache.is_symlink()
    assert list(moved.iterdir()) == []


def test_a_purge_spares_what_others_put_beside(paths: Paths) -> None:
    _lived_in(paths)
    (paths.state.parent / "mine.txt").write_text("x")
    daemon.purge(paths, keep_models=False)
    assert [path.name for path in paths.state.parent.iterdir()] == ["mine.txt"]


def test_nothing_is_purged_under_a_running_node(paths: Paths) -> None:
    _lived_in(paths)
    with (paths.state / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(Refused):
            daemon.purge(paths, keep_models=False)
    assert paths.token_file.exists()
