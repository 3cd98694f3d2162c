import stat
from pathlib import Path

import pytest

from mycoswarm.access.keys import Key
from mycoswarm.access.store import KeyStore
from mycoswarm.core.errors import Fixable

KEY = Key("abc", "laptop", "d" * 64, ("inference", "read"), 1_800_000_000, rate=5)


def test_keys_come_back_and_nobody_else_reads_them(tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "state" / "keys.json")
    assert store.load() == ()
    store.save((KEY,))
    assert KeyStore(store.path).load() == (KEY,)
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    assert not store.exposed()
    store.path.chmod(0o640)
    assert store.exposed()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "cannot be read"),
        (b'{"version":1,"keys":[{"id":1}]}', "cannot be read"),
        (b'{"version":1,"keys":[', "cannot be read"),
        (b'\xff\xfe{"version":1}', "cannot be read"),
        (b'{"version":2,"keys":"other"}', "newer version"),
    ],
)
def test_a_file_that_cannot_be_used_is_left_as_it_is(tmp_path: Path, data: bytes, said: str) -> None:
    store = KeyStore(tmp_path / "keys.json")
    store.path.write_bytes(data)
    with pytest.raises(Fixable, match=said) as caught:
        store.load()
    assert caught.value.hint
    assert store.path.read_bytes() == data
