import base64
import datetime as dt
import hashlib
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from mycoswarm.core.errors import Fixable, InvalidRequest
from mycoswarm.fabric.identity import (
    CERTIFICATE_FILE,
    KEY_FILE,
    NEXT_FILE,
    PREVIOUS_FILE,
    adopt_next,
    certified_id,
    drop_next,
    drop_previous,
    load_or_create,
    pending_next,
    prepare_next,
    previous,
    public_key_of,
    verify,
)


def test_the_id_is_the_hash_of_the_public_key(tmp_path: Path) -> None:
    made = load_or_create(tmp_path)
    certificate = x509.load_der_x509_certificate(made.certificate)
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert made.id == base64.b32encode(hashlib.sha256(spki).digest()).decode().lower().rstrip("=")
    assert len(made.id) == 52
    assert certified_id(made.certificate) == made.id


def test_the_certificate_can_sign_nothing_and_needs_no_clock(tmp_path: Path) -> None:
    certificate = x509.load_der_x509_certificate(load_or_create(tmp_path).certificate)
    assert certificate.not_valid_before_utc == dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
    assert certificate.not_valid_after_utc.year == 2099
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [certified_id(certificate.public_bytes(Encoding.DER))]


def test_it_stays_the_same_and_private(tmp_path: Path) -> None:
    first, second = load_or_create(tmp_path / "state"), load_or_create(tmp_path / "state")
    assert (first.id, first.certificate) == (second.id, second.certificate)
    assert stat.S_IMODE((tmp_path / "state" / KEY_FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    assert sorted(path.name for path in (tmp_path / "state").iterdir()) == [CERTIFICATE_FILE, KEY_FILE]


def test_two_homes_are_two_nodes(tmp_path: Path) -> None:
    assert load_or_create(tmp_path / "one").id != load_or_create(tmp_path / "two").id


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    load_or_create(tmp_path)
    (tmp_path / KEY_FILE).chmod(0o640)
    with pytest.raises(Fixable, match="can be read by other users"):
        load_or_create(tmp_path)


@pytest.mark.parametrize("name", [KEY_FILE, CERTIFICATE_FILE])
def test_a_damaged_file_is_named_and_left_alone(tmp_path: Path, name: str) -> None:
    load_or_create(tmp_path)
    broken = (tmp_path / name).read_bytes()[:100]
    (tmp_path / name).write_bytes(broken)
    with pytest.raises(Fixable, match=name) as caught:
        load_or_create(tmp_path)
    assert "backup" in caught.value.hint
    assert (tmp_path / name).read_bytes() == broken


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    load_or_create(tmp_path)
    other = rsa.generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / KEY_FILE).write_bytes(other)
    with pytest.raises(Fixable, match="another kind"):
        load_or_create(tmp_path)


def test_a_certificate_of_another_key_is_refused(tmp_path: Path) -> None:
    load_or_create(tmp_path / "one")
    load_or_create(tmp_path / "two")
    (tmp_path / "one" / CERTIFICATE_FILE).write_bytes((tmp_path / "two" / CERTIFICATE_FILE).read_bytes())
    with pytest.raises(Fixable, match="another key"):
        load_or_create(tmp_path / "one")


def test_a_certificate_that_tls_cannot_read_is_none(tmp_path: Path) -> None:
    """One in a roster would keep every member's listener from starting."""
    made = load_or_create(tmp_path)
    assert certified_id(made.certificate) == made.id
    # No UTF-8, in the subject's and the issuer's name: nothing but TLS looks there.
    damaged = made.certificate.replace(made.id.encode()[:4], b"\xff" + made.id.encode()[1:4])
    assert public_key_of(damaged) == made.key.public_key()
    with pytest.raises(InvalidRequest, match="TLS"):
        certified_id(damaged)


def test_a_crash_before_the_key_was_written_is_a_first_start(tmp_path: Path) -> None:
    lost = load_or_create(tmp_path).id
    (tmp_path / KEY_FILE).unlink()
    assert load_or_create(tmp_path).id != lost


def test_signatures(tmp_path: Path) -> None:
    made, other = load_or_create(tmp_path / "one"), load_or_create(tmp_path / "two")
    signature = made.sign(b"said")
    assert verify(made.certificate, signature, b"said")
    assert not verify(made.certificate, signature, b"not said")
    assert not verify(other.certificate, signature, b"said")
    with pytest.raises(InvalidRequest):
        certified_id(b"no certificate")
    with pytest.raises(InvalidRequest):
        certified_id(b"0" * 3000)


def test_a_new_key_waits_beside_the_old_one_until_it_is_adopted(tmp_path: Path) -> None:
    old = load_or_create(tmp_path)
    assert pending_next(tmp_path) is None
    new = prepare_next(tmp_path)
    assert stat.S_IMODE((tmp_path / NEXT_FILE).stat().st_mode) == 0o600
    assert load_or_create(tmp_path).id == old.id
    waiting = pending_next(tmp_path)
    assert waiting is not None
    assert (waiting.id, waiting.certificate) == (new.id, new.certificate)
    adopt_next(tmp_path)
    adopt_next(tmp_path)
    assert (load_or_create(tmp_path).id, load_or_create(tmp_path).certificate) == (new.id, new.certificate)
    assert pending_next(tmp_path) is None
    prepare_next(tmp_path)
    drop_next(tmp_path)
    drop_next(tmp_path)
    assert load_or_create(tmp_path).id == new.id


def test_a_damaged_new_key_is_named(tmp_path: Path) -> None:
    load_or_create(tmp_path)
    prepare_next(tmp_path)
    (tmp_path / NEXT_FILE).write_bytes((tmp_path / NEXT_FILE).read_bytes()[:50])
    with pytest.raises(Fixable, match=NEXT_FILE):
        pending_next(tmp_path)


def test_the_old_key_stays_until_it_is_destroyed(tmp_path: Path) -> None:
    old = load_or_create(tmp_path)
    assert previous(tmp_path) is None
    prepare_next(tmp_path)
    assert previous(tmp_path) is None, "the present one is no old one"
    adopt_next(tmp_path)
    path = tmp_path / PREVIOUS_FILE
    kept = previous(tmp_path)
    assert kept is not None
    assert (kept.id, kept.certificate, kept.key_file, kept.certificate_file) == (old.id, old.certificate, path, path)
    assert verify(old.certificate, kept.sign(b"said"), b"said")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    # It helps where it can, and never stops a start.
    path.write_bytes(path.read_bytes()[:50])
    assert previous(tmp_path) is None
    drop_previous(tmp_path)
    drop_previous(tmp_path)
    assert not path.exists()
