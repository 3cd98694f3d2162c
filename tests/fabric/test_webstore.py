import ssl
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from mycoswarm.core.errors import Fixable
from mycoswarm.fabric import tls, webca
from mycoswarm.fabric.webstore import Shown, WebStore

NOW = 1_800_000_000.0


def test_the_ca_comes_back_and_can_be_destroyed(tmp_path: Path) -> None:
    store, held = WebStore(tmp_path / "state"), webca.create("s", "home", "me", NOW)
    assert store.authority() is None
    store.keep_authority(held)
    assert WebStore(tmp_path / "state").authority() == held
    assert stat.S_IMODE(store.authority_file.stat().st_mode) == 0o600
    store.keep_authority(None)
    assert store.authority() is None
    assert not store.authority_file.exists()


def test_a_ca_that_cannot_be_used_is_left_as_it_is(tmp_path: Path) -> None:
    store = WebStore(tmp_path)
    store.keep_authority(webca.create("s", "home", "me", NOW))
    good = store.authority_file.read_bytes()
    for data, said in (
        (b"", "cannot be used"),
        (good[:-20], "cannot be used"),
        (good.replace(b'"key":"M', b'"key":"N'), "cannot be used"),
        (good.replace(b'"version":1', b'"version":2'), "newer version"),
    ):
        store.authority_file.write_bytes(data)
        with pytest.raises(Fixable, match=said) as caught:
            store.authority()
        assert caught.value.hint
        assert store.authority_file.read_bytes() == data


def _kept(store: WebStore) -> Shown:
    held, key = webca.create("", "miu", "me", NOW), ec.generate_private_key(ec.SECP256R1())
    shown = Shown(webca.sign(held, webca.request(key, ("miu.local",)), ("miu.local",), NOW), held.certificate)
    store.keep_certificate(key, shown)
    return shown


def test_the_certificate_comes_back_and_tls_loads_it(tmp_path: Path) -> None:
    store = WebStore(tmp_path)
    assert store.certificate() is None
    shown = _kept(store)
    assert WebStore(tmp_path).certificate() == shown
    assert stat.S_IMODE(store.certificate_file.stat().st_mode) == 0o600
    context = tls.web_context(store.certificate_file)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_3
    assert context.num_tickets == 0


def test_a_damaged_certificate_is_as_good_as_none(tmp_path: Path) -> None:
    store = WebStore(tmp_path)
    _kept(store)
    good = store.certificate_file.read_bytes()
    _kept(store)
    other = store.certificate_file.read_bytes()
    split = good.index(b"-----BEGIN CERTIFICATE")
    for data in (
        b"",
        b"x",
        good[:-100],
        good[:split],
        good[:split] + other[split:],
        good.replace(b"version 1", b"version 2"),
    ):
        store.certificate_file.write_bytes(data)
        assert store.certificate() is None
