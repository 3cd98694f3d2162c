"""Keys and certificates on the command line, against the fake node; the computer's own lists of CAs are fakes too."""

import ssl
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from mycoswarm.client import trust
from mycoswarm.client.trust import Computer, read
from mycoswarm.core.paths import Paths
from tests.cli.conftest import Run
from tests.cli.fake_node import FakeNode


@pytest.fixture
def computer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Debian of which the caller is the administrator; its folder of authorities."""
    folder = tmp_path / "root/usr/local/share/ca-certificates"
    folder.mkdir(parents=True)

    def run(command: Sequence[str]) -> tuple[int, str]:
        assert list(command) == ["update-ca-certificates"]
        return 0, ""

    def which(tool: str) -> str | None:
        return tool if tool == "update-ca-certificates" else None

    def here() -> Computer:
        return Computer(tmp_path / "root", tmp_path, "Linux", True, which, run)

    monkeypatch.setattr(trust, "here", here)
    return folder


@pytest.mark.parametrize("width", [80, 60])
@pytest.mark.parametrize("verb", [["keys", "list"], ["certs", "show"]], ids=" ".join)
def test_a_terminal_shows(run: Run, node: FakeNode, verb: list[str], width: int, snapshot: object) -> None:
    result = run(*verb, terminal=True, width=width)
    assert result.out + "--- stderr\n" + result.err == snapshot


def test_a_new_key_in_a_pipe_is_the_secret_alone(run: Run, node: FakeNode) -> None:
    result = run("keys", "add", "laptop", "--scope", "inference", "--rate", "30", "--expires", "30d", "--quiet")
    assert (result.code, result.out, result.err) == (0, "myco-secret\n", "")
    (sent,) = [msgspec.json.decode(body) for method, path, body in node.calls if path == "/swarm/v1/keys"]
    assert sent == {"name": "laptop", "scopes": ["inference"], "rate": 30, "lifetime": 30 * 86400.0}


def test_a_person_hears_what_to_do_with_it(run: Run, node: FakeNode) -> None:
    said = run("keys", "add", "laptop", terminal=True, width=200).err
    assert "the only time that it is shown" in said
    assert "--listen lan" in said


@pytest.mark.parametrize("wrong", [["--scope", "root"], ["--scope", ""], ["--expires", "soon"], ["--rate", "-1"]])
def test_a_wrong_option_makes_no_key(run: Run, node: FakeNode, wrong: list[str]) -> None:
    assert run("keys", "add", "laptop", *wrong).code == 2
    assert not node.calls


def test_removing_a_key_needs_a_yes(run: Run, node: FakeNode) -> None:
    assert run("keys", "remove", "laptop").code == 5
    assert "Nothing was removed" in run("keys", "remove", "laptop", terminal=True, typed="n\n").err
    assert not node.calls
    result = run("keys", "remove", "laptop", "--yes")
    assert result.out == "The key laptop (abcdefgh) is removed; 1 answer under way broke off.\n"
    assert [path for _, path, _ in node.calls] == ["/swarm/v1/keys/laptop"]


def test_the_certificate_is_printed_as_it_is(run: Run, node: FakeNode, computer: Path) -> None:
    result = run("certs", "trust", "--print")
    assert result.out == "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
    assert not list(computer.iterdir())


def test_trusting_asks_first_and_says_what_it_did(run: Run, node: FakeNode, computer: Path) -> None:
    assert run("certs", "trust").code == 5
    assert "Nothing was changed" in run("certs", "trust", terminal=True, typed="n\n").err
    assert not list(computer.iterdir())
    result = run("certs", "trust", terminal=True, typed="y\n")
    (file,) = computer.iterdir()
    assert read(file.read_text()).fingerprint in result.err.replace("\n", "")
    assert str(file) in result.out.replace("\n", "")
    result = run("certs", "trust", "--remove", "--yes")
    assert result.out.startswith("Removed from the system's list")
    assert not list(computer.iterdir())
    assert "trusts no web CA" in run("certs", "trust", "--remove", "--yes").err


def test_a_ca_that_was_followed_by_another_is_trusted_no_more(
    run: Run, node: FakeNode, computer: Path, paths: Paths
) -> None:
    old = trust.keep(paths.state, read(ssl.DER_cert_to_PEM_cert(b"somebody has its key")))
    installed = computer / f"mycoswarm-{old.stem}.crt"
    installed.write_text("old")
    result = run("certs", "trust", "--yes")
    assert result.out.count("Added to") == result.out.count("Removed from") == 1
    assert not installed.exists()
    assert len(list(computer.iterdir())) == len(trust.kept(paths.state)) == 1


def test_it_is_forgotten_without_a_node(run: Run, computer: Path, paths: Paths) -> None:
    for content in (b"one", b"two"):
        file = trust.keep(paths.state, read(ssl.DER_cert_to_PEM_cert(content)))
        (computer / f"mycoswarm-{file.stem}.crt").write_text("x")
    assert run("certs", "trust", "--remove", "--yes").code == 0
    assert not list(computer.iterdir())
    assert not trust.kept(paths.state)


def test_a_computer_without_any_list_says_so(
    run: Run, node: FakeNode, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(
        trust, "here", lambda: Computer(tmp_path, tmp_path, "Linux", False, lambda _: None, lambda _: (1, ""))
    )
    result = run("certs", "trust", "--yes")
    assert result.code == 1
    assert "certs show" in result.err


def test_purging_takes_the_ca_out_again(run: Run, node: FakeNode, computer: Path, paths: Paths) -> None:
    run("certs", "trust", "--yes")
    assert list(computer.iterdir())
    run("leave", "--purge", "--yes")
    assert not list(computer.iterdir())


def test_up_and_status_tell_where_the_lan_finds_it(run: Run, node: FakeNode) -> None:
    assert "https://" not in run("status").out
    node.script.lan = True
    assert "https://10.0.0.4:6926, with an API key: mycoswarm keys add NAME" in run("status").out
    assert "https://10.0.0.4:6926/v1" in run("keys", "add", "laptop", terminal=True, width=200).err
