"""[io] Telling this computer to trust a web CA, and to forget it: one row for each place that programs look in.

    system    Debian's and Fedora's tools build the list that OpenSSL, curl and most programs read; macOS has a keychain
    browsers  Firefox, and Chrome on Linux, keep databases of their own, written by `certutil` where it is installed

Only what carries this CA's fingerprint in its name is written or removed. Which places there are is decided by
`places`, which touches nothing; `install` and `uninstall` do what it says and tell it step by step. A copy of each CA
that was ever installed stays in the state directory (`kept`), so that `leave --purge` can take all of them out again.
"""

import hashlib
import os
import platform
import shlex
import shutil
import ssl
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mycoswarm.core.errors import Fixable, from_os_error

NICKNAME = "mycoSwarm"
TIMEOUT = 60.0
"""Seconds for one of the system's tools; rebuilding the list takes some."""

_KEPT = "trusted"
"""Folder in the state directory."""

Kind = Literal["debian", "fedora", "macos", "nss"]


@dataclass(frozen=True)
class Place:
    """Somewhere that programs look for authorities. title: for people.

    file: that is written, where the place takes a file. command, undo: what is run; `{}` stands for a file that holds
    the certificate. needs_root: the owner's own rights are not enough.
    """

    kind: Kind
    title: str
    command: tuple[str, ...]
    undo: tuple[str, ...]
    file: Path | None = None
    needs_root: bool = False


@dataclass(frozen=True)
class Step:
    """What was done at one place. failed: why not; empty where it was."""

    place: Place
    failed: str = ""


@dataclass(frozen=True)
class Computer:
    """What installing depends on; tests bring their own.

    root: of the file system. run: a command, with its exit code and what it said.
    """

    root: Path
    home: Path
    system: str
    is_root: bool
    which: Callable[[str], str | None]
    run: Callable[[Sequence[str]], tuple[int, str]]


@dataclass(frozen=True)
class Root:
    """A CA. certificate: PEM of this one and no other. fingerprint: its SHA-256, hex with colons."""

    certificate: str
    fingerprint: str

    @property
    def mark(self) -> str:
        """The part of the fingerprint that names it on this computer."""
        return self.fingerprint.replace(":", "").lower()[:16]


def read(certificate: str) -> Root:
    """What is to be trusted, by nothing but itself: no word of whoever told it comes into names, paths or questions.

    Raises:
        Fixable: it is no certificate.
    """
    try:
        der = ssl.PEM_cert_to_DER_cert(certificate)
    except ValueError as problem:
        raise Fixable("the node tells no web CA", "see `mycoswarm certs show`") from problem
    return Root(ssl.DER_cert_to_PEM_cert(der), hashlib.sha256(der).digest().hex(":").upper())


def keep(state: Path, root: Root) -> Path:
    """Write a CA where `kept` finds it again. Raises NotWritable, DiskFull."""
    file = state / _KEPT / f"{root.mark}.crt"
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.write_text(root.certificate, encoding="ascii")
    except OSError as problem:
        raise from_os_error(problem, file) from problem
    return file


def kept(state: Path) -> tuple[tuple[str, Path], ...]:
    """The CAs that this computer was told to trust, by their mark."""
    return tuple((file.stem, file) for file in sorted((state / _KEPT).glob("*.crt")))


def here(environ: Mapping[str, str] = os.environ) -> Computer:
    """This computer."""
    home = Path(environ.get("HOME") or Path.home())
    return Computer(Path("/"), home, platform.system(), os.geteuid() == 0, shutil.which, _run)


def places(computer: Computer, mark: str) -> tuple[Place, ...]:
    """Where this computer's programs look. mark: of the CA."""
    return (*_system(computer, mark), *_browsers(computer, mark))


def _system(computer: Computer, mark: str) -> tuple[Place, ...]:
    name = f"mycoswarm-{mark}"
    if computer.system == "Darwin":
        keychain = str(computer.home / "Library/Keychains/login.keychain-db")
        return (
            Place(
                "macos",
                "your login keychain",
                ("security", "add-trusted-cert", "-r", "trustRoot", "-p", "ssl", "-k", keychain, "{}"),
                ("security", "remove-trusted-cert", "{}"),
            ),
        )
    debian = computer.root / "usr/local/share/ca-certificates"
    if debian.is_dir() and computer.which("update-ca-certificates"):
        update = ("update-ca-certificates",)
        return (Place("debian", "the system's list", update, update, debian / f"{name}.crt", needs_root=True),)
    fedora = computer.root / "etc/pki/ca-trust/source/anchors"
    if fedora.is_dir() and computer.which("update-ca-trust"):
        update = ("update-ca-trust", "extract")
        return (Place("fedora", "the system's list", update, update, fedora / f"{name}.pem", needs_root=True),)
    return ()


def _browsers(computer: Computer, mark: str) -> tuple[Place, ...]:
    if computer.which("certutil") is None or computer.system == "Darwin":
        # macOS has a `certutil` of its own, for something else; its Firefox reads the keychain.
        return ()
    found: list[Place] = []
    for title, database in _databases(computer.home):
        where, nickname = f"sql:{database}", f"{NICKNAME} {mark}"
        add = ("certutil", "-d", where, "-A", "-t", "C,,", "-n", nickname, "-i", "{}")
        found.append(Place("nss", title, add, ("certutil", "-d", where, "-D", "-n", nickname)))
    return tuple(found)


def _databases(home: Path) -> Iterable[tuple[str, Path]]:
    """Certificate databases of browsers in a home directory."""
    shared = home / ".pki/nssdb"
    if (shared / "cert9.db").is_file():
        yield "Chrome and its relatives", shared
    for folder in (".mozilla/firefox", "snap/firefox/common/.mozilla/firefox", ".config/mozilla/firefox"):
        if (home / folder).is_dir():
            for profile in sorted((home / folder).iterdir()):
                if (profile / "cert9.db").is_file():
                    yield f"Firefox ({profile.name})", profile


def install(computer: Computer, place: Place, certificate: Path) -> Step:
    """Trust `certificate` (PEM) there. What could not be done is said in the step, and nothing is left half done."""
    if place.file is None:
        return Step(place, _done(computer, place.command, certificate))
    try:
        place.file.write_bytes(certificate.read_bytes())
        place.file.chmod(0o644)
    except OSError as problem:
        return Step(place, from_os_error(problem, place.file).message)
    failed = _done(computer, place.command, certificate)
    if failed:
        place.file.unlink(missing_ok=True)
    return Step(place, failed)


def uninstall(computer: Computer, place: Place, certificate: Path) -> Step:
    """Forget it there; nothing to do is no failure."""
    if not holds(computer, place, certificate):
        return Step(place)
    if place.file is None:
        return Step(place, _done(computer, place.undo, certificate))
    try:
        place.file.unlink()
    except OSError as problem:
        return Step(place, from_os_error(problem, place.file).message)
    return Step(place, _done(computer, place.undo, certificate))


def holds(computer: Computer, place: Place, certificate: Path) -> bool:
    """Whether the CA is installed there."""
    if place.file is not None:
        return place.file.exists()
    if place.kind == "nss":
        return not _done(computer, ("certutil", "-d", place.undo[2], "-L", "-n", place.undo[-1]), certificate)
    return not _done(computer, ("security", "verify-cert", "-c", "{}"), certificate)


def by_hand(place: Place, certificate: Path, *, remove: bool = False) -> str:
    """For a shell, by the administrator: to install `certificate` there, or to remove it."""
    first = ("sudo", "rm", str(place.file)) if remove else ("sudo", "cp", str(certificate), str(place.file))
    return f"{shlex.join(first)} && {shlex.join(('sudo', *(place.undo if remove else place.command)))}"


def _done(computer: Computer, command: Sequence[str], certificate: Path) -> str:
    code, said = computer.run([part.replace("{}", str(certificate)) for part in command])
    return "" if code == 0 else f"{command[0]} failed: {said.strip() or f'exit code {code}'}"


def _run(command: Sequence[str]) -> tuple[int, str]:
    try:
        done = subprocess.run(
            list(command), capture_output=True, text=True, timeout=TIMEOUT, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        return 1, str(problem)
    return done.returncode, done.stderr or done.stdout
