import asyncio
import os
import sys
import threading
import time

import pytest

from mycoswarm.hardware import bounded


async def test_a_command_that_ends_tells_what_it_said():
    script = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    done = await bounded.run((sys.executable, "-c", script), 10)
    assert (done.code, done.stdout, done.stderr) == (3, "out\n", "err\n")
    assert done.output == "out\nerr\n"


async def test_a_command_that_hangs_is_killed_with_its_children():
    # The shell's child holds the output open: killing the shell alone would leave it, and us, waiting.
    start = time.monotonic()
    with pytest.raises(TimeoutError):
        await bounded.run(("sh", "-c", "echo $$; sleep 60 & sleep 60"), 0.3)
    assert time.monotonic() - start < 3


async def test_cancelling_kills_the_command(tmp_path):
    pid_file = tmp_path / "pid"
    running = asyncio.get_running_loop().create_task(
        bounded.run(("sh", "-c", f"echo $$ >{pid_file}; exec sleep 60"), 60)
    )
    while not (pid_file.exists() and pid_file.read_text().strip()):
        await asyncio.sleep(0.02)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


async def test_a_missing_command_says_so():
    with pytest.raises(FileNotFoundError):
        await bounded.run(("mycoswarm-no-such-tool",), 1)


async def test_a_call_returns_or_raises_what_its_function_does():
    def fail() -> int:
        raise ZeroDivisionError

    assert await bounded.call(lambda: 42, 5, "answer") == 42
    assert await bounded.call(lambda: None, 5, "nothing") is None
    with pytest.raises(ZeroDivisionError):
        await bounded.call(fail, 5, "fail")


async def test_a_call_that_hangs_is_abandoned_in_a_daemon_thread():
    release = threading.Event()
    with pytest.raises(TimeoutError):
        await bounded.call(lambda: release.wait(30), 0.1, "stuck")
    stuck = [thread for thread in threading.enumerate() if thread.name == "probe-stuck"]
    assert [thread.daemon for thread in stuck] == [True]
    release.set()
    stuck[0].join(5)
    assert not stuck[0].is_alive()


async def test_an_abandoned_call_does_not_keep_the_process_alive():
    script = (
        "import asyncio, time\n"
        "from mycoswarm.hardware import bounded\n"
        "async def main():\n"
        "    try:\n"
        "        await bounded.call(lambda: time.sleep(60), 0.1, 'stuck')\n"
        "    except TimeoutError:\n"
        "        print('gave up')\n"
        "asyncio.run(main())\n"
    )
    done = await bounded.run((sys.executable, "-c", script), 20)
    assert (done.code, done.stdout) == (0, "gave up\n")
