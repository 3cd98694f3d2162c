"""Installing the CA on computers that are folders with scripted tools; this one's own lists are never touched."""

import hashlib
import ssl
from collections.abc import Sequence
from pathlib import Path

import pytest

from mycoswarm.client import trust
from mycoswarm.client.trust import Computer, Place, install, kept, places, read, uninstall
from mycoswarm.core.errors import Fixable

PEM = ssl.DER_cert_to_PEM_cert(b"a certificate")
ROOT = read(PEM)
MARK = ROOT.mark


class Fake:
    """A computer. tools: that are installed; those in `failing` do not work."""

    def __init__(self, root: Path, *tools: str, system: str = "Linux", is_root: bool = True) -> None:
        self.root = root
        self.home = root / "home"
        self.home.mkdir(parents=True)
        self.ran: list[tuple[str, ...]] = []
        self.failing: set[str] = set()
        self.databases: dict[str, set[str]] = {}
        self.computer = Computer(root, self.home, system, is_root, dict(zip(tools, tools, strict=True)).get, self.run)

    def run(self, command: Sequence[str]) -> tuple[int, str]:
        self.ran.append(tuple(command))
        if command[0] in self.failing:
            return 1, "it is broken\n"
        if command[0] == "certutil":
            names = self.databases.setdefault(command[2], set())
            nickname = command[command.index("-n") + 1]
            if "-A" in command:
                assert Path(command[-1]).read_text() == PEM
                names.add(nickname)
            elif nickname not in names:
                return 255, "could not find certificate"
            elif "-D" in command:
                names.remove(nickname)
        return 0, ""

    def folder(self, path: str) -> Path:
        (self.root / path).mkdir(parents=True)
        return self.root / path

    def browser(self, path: str) -> None:
        self.folder(f"home/{path}").joinpath("cert9.db").touch()

    def places(self) -> tuple[Place, ...]:
        return places(self.computer, MARK)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return trust.keep(tmp_path / "state", ROOT)


def test_a_ca_is_known_by_what_it_is() -> None:
    digest = hashlib.sha256(b"a certificate").hexdigest()
    assert ROOT.fingerprint.replace(":", "").lower() == digest
    assert digest[:16] == MARK


def test_nothing_hides_behind_a_certificate() -> None:
    other = ssl.DER_cert_to_PEM_cert(b"another one")
    assert read(PEM + other).certificate.count("BEGIN") == 1
    for nonsense in ("", "../../etc/passwd", "-----BEGIN PRIVATE KEY-----\n"):
        with pytest.raises(Fixable):
            read(nonsense)


@pytest.mark.parametrize(
    ("folder", "tool", "name"),
    [
        ("usr/local/share/ca-certificates", "update-ca-certificates", f"mycoswarm-{MARK}.crt"),
        ("etc/pki/ca-trust/source/anchors", "update-ca-trust", f"mycoswarm-{MARK}.pem"),
    ],
)
def test_the_system_s_list(tmp_path: Path, certificate: Path, folder: str, tool: str, name: str) -> None:
    fake = Fake(tmp_path / "root", tool)
    assert not fake.places(), "a tool without its folder is of some other system"
    file = fake.folder(folder) / name
    (place,) = fake.places()
    assert place.needs_root
    assert not install(fake.computer, place, certificate).failed
    assert file.read_text() == PEM
    assert fake.ran[-1][0] == tool
    assert trust.holds(fake.computer, place, certificate)
    assert not uninstall(fake.computer, place, certificate).failed
    assert not file.exists()
    assert len(fake.ran) == 2, "the list is built anew without it"
    assert not uninstall(fake.computer, place, certificate).failed
    assert len(fake.ran) == 2, "there was nothing to do"


def test_a_list_that_cannot_be_built_is_left_as_it_was(tmp_path: Path, certificate: Path) -> None:
    fake = Fake(tmp_path / "root", "update-ca-certificates")
    folder = fake.folder("usr/local/share/ca-certificates")
    fake.failing.add("update-ca-certificates")
    (place,) = fake.places()
    assert install(fake.computer, place, certificate).failed == "update-ca-certificates failed: it is broken"
    assert not list(folder.iterdir())


def test_browsers_databases(tmp_path: Path, certificate: Path) -> None:
    fake = Fake(tmp_path / "root", "certutil")
    fake.browser(".pki/nssdb")
    fake.browser(".mozilla/firefox/abc.default")
    fake.folder("home/.mozilla/firefox/Crash Reports")
    found = fake.places()
    assert [place.title for place in found] == ["Chrome and its relatives", "Firefox (abc.default)"]
    assert not any(place.needs_root for place in found)
    for place in found:
        assert not trust.holds(fake.computer, place, certificate)
        assert not install(fake.computer, place, certificate).failed
        assert trust.holds(fake.computer, place, certificate)
    assert all(names == {f"mycoSwarm {MARK}"} for names in fake.databases.values())
    assert all("C,," in command for command in fake.ran if "-A" in command), "for servers, and for nothing else"
    for place in found:
        assert not uninstall(fake.computer, place, certificate).failed
    assert not any(fake.databases.values())


def test_macos_has_a_keychain(tmp_path: Path, certificate: Path) -> None:
    fake = Fake(tmp_path / "root", "security", "certutil", system="Darwin")
    (place,) = fake.places()
    assert not install(fake.computer, place, certificate).failed
    assert fake.ran[-1][:2] == ("security", "add-trusted-cert")
    assert str(certificate) in fake.ran[-1]
    assert not place.needs_root


def test_what_the_administrator_must_do_is_said(tmp_path: Path, certificate: Path) -> None:
    fake = Fake(tmp_path / "root", "update-ca-certificates", is_root=False)
    fake.folder("usr/local/share/ca-certificates")
    (place,) = fake.places()
    assert trust.by_hand(place, certificate) == f"sudo cp {certificate} {place.file} && sudo update-ca-certificates"
    assert trust.by_hand(place, certificate, remove=True) == f"sudo rm {place.file} && sudo update-ca-certificates"
    spaced = trust.by_hand(place, Path("/home/a b/$(x).crt"))
    assert spaced.startswith("sudo cp '/home/a b/$(x).crt' "), "it is pasted into a shell"


def test_what_was_installed_is_remembered(tmp_path: Path) -> None:
    assert kept(tmp_path) == ()
    file = trust.keep(tmp_path, ROOT)
    assert kept(tmp_path) == ((MARK, file),)
