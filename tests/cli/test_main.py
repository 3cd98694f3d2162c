import subprocess
import sys
from pathlib import Path

import click
import pytest

from mycoswarm import __version__
from mycoswarm.cli import main as entry
from mycoswarm.cli.main import VERBS, cli
from mycoswarm.core.errors import CannotServe, DaemonUnreachable, InvalidRequest, MycoError, NotFound, Refused
from mycoswarm.core.paths import Paths
from tests.cli.conftest import Run

HEAVY = ("rich", "prompt_toolkit", "aiohttp", "msgspec", "pygments", "asyncio", "http.client", "platformdirs")


def _command(name: str) -> click.Command:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    return command


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["ask", "--help"], ["stauts"]])
def test_nothing_heavy_is_imported_for_it(arguments: list[str]) -> None:
    code = (
        "import sys; from mycoswarm.cli.main import main; main(sys.argv[1:]); sys.stderr.write(' '.join(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.splitlines()[-1].split())
    assert not loaded & set(HEAVY)


def test_version(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version").code == 0
    assert capsys.readouterr().out == f"mycoswarm {__version__}\n"


@pytest.mark.parametrize("verb", VERBS)
def test_the_table_of_verbs_says_what_the_verbs_say(verb: str) -> None:
    summary = VERBS[verb].removesuffix(".")
    help_text = " ".join((_command(verb).help or "").split())
    assert help_text.startswith(summary), f"{summary!r} is not how {help_text[:60]!r} begins"


def test_the_overview_names_every_verb(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help").code == 0
    shown = capsys.readouterr().out
    assert all(f"  {verb} " in shown for verb in VERBS)


def test_without_a_verb_there_is_the_overview(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run().code == 2
    assert "Usage: mycoswarm" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence", "hint"),
    [
        (["stauts"], "there is no verb `stauts`", "did you mean `status`?"),
        (["xyzzy"], "there is no verb `xyzzy`", "mycoswarm --help"),
        (["--vresion"], "`mycoswarm` has no option `--vresion`", "did you mean `--version`?"),
        (["ask", "--modle", "x"], "`mycoswarm ask` has no option `--modle`", "did you mean `--model`?"),
        (["ask", "--seed", "x", "hi"], "invalid value for '--seed': 'x' is not a valid integer",
         "mycoswarm ask --help"),
        (["nodes", "--why"], "option '--why' requires an argument", "mycoswarm nodes --help"),
        (["remove"], "missing argument 'NODE'", "mycoswarm remove --help"),
        (["config", "get"], "missing argument 'KEY'", "mycoswarm config get --help"),
        (["ask"], 'there is no question; try: mycoswarm ask "why is the sky blue?"', "mycoswarm ask --help"),
        (["chat"], 'there is no question and no terminal; try: mycoswarm ask "why is the sky blue?"',
         "mycoswarm chat --help"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("node")
def test_usage_errors_are_a_sentence_and_a_hint(run: Run, arguments: list[str], sentence: str, hint: str) -> None:
    result = run(*arguments)
    assert result.code == 2
    assert result.err == f"error: {sentence}\nhint: {hint}\n"


@pytest.mark.parametrize(
    ("error", "code"),
    [(InvalidRequest("x"), 2), (DaemonUnreachable("x"), 3), (NotFound("x"), 4), (Refused("x"), 5),
     (CannotServe("x"), 6), (MycoError("x"), 70), (KeyboardInterrupt(), 130)],
)  # fmt: skip
def test_exit_codes(run: Run, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("mycoswarm.client.daemon.connect", fail)
    assert run("status").code == code


def test_what_nobody_foresaw_is_our_bug(run: Run, paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("secret question")

    monkeypatch.setattr("mycoswarm.client.daemon.connect", fail)
    monkeypatch.setattr("sys.argv", ["mycoswarm", "ask", "my private question"])
    result = run("status")
    assert result.code == 70
    (report,) = paths.state.glob("crash-*.txt")
    assert str(report) in result.err.replace("\n", "")
    assert "this is our bug" in result.err
    assert "mycoswarm logs" in result.err
    assert "Traceback" not in result.err
    assert report.stat().st_mode & 0o777 == 0o600
    assert "ZeroDivisionError" in report.read_text()
    assert "private question" not in report.read_text()


def test_a_state_that_cannot_be_written_does_not_hide_the_bug(
    run: Run, paths: Paths, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    paths.state.parent.mkdir(parents=True)
    paths.state.write_text("a file")
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("mycoswarm.client.daemon.connect", fail)
    assert run("status").code == 70
    assert len(list(tmp_path.glob("crash-*.txt"))) == 1


def test_a_closed_pipe_is_quiet() -> None:
    code = "import sys; from mycoswarm.cli.main import main; sys.exit(main(['config', 'show']))"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.close()
    _, err = child.communicate(timeout=20)
    assert (child.returncode, err) == (141, b"")


def test_the_module_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "mycoswarm", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"mycoswarm {__version__}\n"


def test_the_entry_point_is_this_function() -> None:
    import tomllib

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert project["scripts"]["mycoswarm"] == f"{entry.__name__}:main"
