import os
import stat
from pathlib import Path

import pytest

from mycoswarm.core.errors import Fixable, NotWritable
from mycoswarm.core.ids import NodeId
from mycoswarm.fabric import files
from mycoswarm.fabric.store import Store
from tests.fabric.keys import with_boa


def test_the_roster_comes_back_and_can_be_forgotten(tmp_path: Path) -> None:
    store = Store(tmp_path / "state")
    assert store.roster() is None
    store.keep_roster(with_boa())
    held = store.roster()
    assert held is not None
    assert held.encode() == with_boa().encode()
    assert stat.S_IMODE((tmp_path / "state" / "roster.json").stat().st_mode) == 0o600
    store.keep_roster(None)
    assert store.roster() is None


@pytest.mark.parametrize("data", [b"", b"{", b'{"format":3,"new":true}', b'{"format":1,"statements":[]}'])
def test_a_damaged_or_newer_roster_is_refused_untouched(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "roster.json").write_bytes(data)
    with pytest.raises(Fixable, match=r"roster\.json") as caught:
        Store(tmp_path).roster()
    assert caught.value.hint
    assert (tmp_path / "roster.json").read_bytes() == data


def test_a_roster_of_the_first_format_is_read_and_written_as_the_second(tmp_path: Path) -> None:
    old = (Path(__file__).parent / "roster-format-1.json").read_bytes()
    (tmp_path / "roster.json").write_bytes(old)
    held = Store(tmp_path).roster()
    assert held is not None
    assert (tmp_path / "roster.json").read_bytes() == old
    Store(tmp_path).keep_roster(held)
    assert b'"format":2' in (tmp_path / "roster.json").read_bytes()
    again = Store(tmp_path).roster()
    assert again is not None
    assert again.members() == held.members()


def test_damaged_addresses_are_as_good_as_none(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.keep_addresses({NodeId("a"): ("192.0.2.1:6927",)})
    assert store.addresses() == {"a": ("192.0.2.1:6927",)}
    (tmp_path / "addresses.json").write_bytes(b"[1")
    assert store.addresses() == {}


def test_every_start_has_a_higher_number(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert [store.next_incarnation() for _ in range(3)] == [1, 2, 3]
    store.keep_incarnation(40)
    assert Store(tmp_path).next_incarnation() == 41
    (tmp_path / "incarnation").write_bytes(b"what")
    assert Store(tmp_path).next_incarnation() == 1


def test_used_codes_are_remembered(tmp_path: Path) -> None:
    assert Store(tmp_path).used_code() == ""
    Store(tmp_path).keep_used_code("abc")
    assert Store(tmp_path).used_code() == "abc"


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    files.write_private(path, b"old")

    def fail(descriptor: int) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files.os, "fsync", fail)
    with pytest.raises(NotWritable):
        files.write_private(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_rename_and_a_removal_have_reached_the_disk_when_they_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a power cut brings back the roster from before a signed statement, and its keeper signs another one."""
    done: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        done.append(f"folder with {sorted(path.name for path in tmp_path.iterdir())}" if folder else "file")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    store = Store(tmp_path)
    store.keep_roster(with_boa())
    store.keep_roster(None)
    assert done == ["file", "folder with ['roster.json']", "folder with []"]


def test_a_file_system_that_cannot_settle_a_folder_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(22, "not here")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    store = Store(tmp_path)
    store.keep_roster(with_boa())
    assert store.roster() is not None
