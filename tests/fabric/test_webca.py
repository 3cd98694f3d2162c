"""What the web CA may sign, as those who verify see it: cryptography, Python's ssl, and the openssl program."""

import datetime as dt
import ipaddress
import shutil
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from mycoswarm.core.errors import InvalidRequest, Refused
from mycoswarm.fabric import webca
from mycoswarm.fabric.webca import Authority

NOW = dt.datetime(2026, 11, 22, tzinfo=dt.UTC).timestamp()
DAY = 86400.0
LOCAL = ("localhost", "miu.local", "nas.home.arpa", "10.0.0.5", "192.168.1.9", "fd00::5", "fe80::1", "127.0.0.1", "::1")
PUBLIC = ("example.com", "miu", "mini", "local.example.com", "8.8.8.8", "100.64.0.1", "172.32.0.1", "2003::1")


@pytest.fixture(scope="module")
def authority() -> Authority:
    return webca.create("", "miu's swarm", "keeper", NOW)


def leaf(authority: Authority, *names: str, now: float = NOW) -> tuple[bytes, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    return webca.sign(authority, webca.request(key, names), names, now), key


def forged(authority: Authority, *names: str, ca: bool = False) -> bytes:
    """What a thief of the CA's key would sign: names that this program never does."""
    issuer = x509.load_der_x509_certificate(authority.certificate)
    key = serialization.load_der_private_key(authority.key, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    honest = x509.load_der_x509_certificate(leaf(authority, "miu.local")[0])
    builder = x509.CertificateBuilder(
        issuer.subject,
        honest.subject,
        honest.public_key(),
        honest.serial_number,
        honest.not_valid_before_utc,
        honest.not_valid_after_utc,
    )
    for extension in honest.extensions:
        value = extension.value
        if isinstance(value, x509.SubjectAlternativeName):
            found: list[x509.GeneralName] = []
            for name in names:
                try:
                    found.append(x509.IPAddress(ipaddress.ip_address(name)))
                except ValueError:
                    found.append(x509.DNSName(name))
            value = x509.SubjectAlternativeName(found)
        if isinstance(value, x509.BasicConstraints):
            value = x509.BasicConstraints(ca=ca, path_length=None)
        builder = builder.add_extension(value, extension.critical)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def accepts(authority: Authority, certificate: bytes, name: str, now: float = NOW) -> bool:
    """Whether a verifier that trusts the CA takes this certificate for `name`."""
    try:
        subject: x509.DNSName | x509.IPAddress = x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        subject = x509.DNSName(name)
    store = Store([x509.load_der_x509_certificate(authority.certificate)])
    policy = PolicyBuilder().store(store).time(dt.datetime.fromtimestamp(now, dt.UTC).replace(tzinfo=None))
    try:
        policy.build_server_verifier(subject).verify(x509.load_der_x509_certificate(certificate), [])
    except VerificationError:
        return False
    return True


@pytest.mark.parametrize("name", LOCAL)
def test_what_is_local_is_signed_and_accepted(authority: Authority, name: str) -> None:
    assert webca.permitted(name)
    certificate, _ = leaf(authority, name)
    assert accepts(authority, certificate, name)
    assert not accepts(authority, certificate, "other.local")


@pytest.mark.parametrize("name", PUBLIC)
def test_a_thief_of_the_key_gains_nothing_outside(authority: Authority, name: str) -> None:
    assert not webca.permitted(name)
    with pytest.raises(Refused):
        leaf(authority, name)
    certificate = forged(authority, name)
    assert not accepts(authority, certificate, name)
    assert not accepts(authority, forged(authority, "miu.local", name), "miu.local"), "nor hides it behind a local name"


def test_names_that_are_none_are_not_signed(authority: Authority) -> None:
    for name in ("", ".local", "*.local", "a b.local", "-a.local", "ä.local", "MIU.local", "x" * 64 + ".local"):
        assert not webca.permitted(name), name


def test_it_signs_no_further_authority(authority: Authority) -> None:
    middle = webca.create("", "middle", "x", NOW)
    chained = msgspec.structs.replace(authority, certificate=forged(authority, "miu.local", ca=True))
    with pytest.raises(InvalidRequest):
        webca.check(chained)
    below, _ = leaf(middle, "miu.local")
    store = Store([x509.load_der_x509_certificate(authority.certificate)])
    with pytest.raises(VerificationError):
        PolicyBuilder().store(store).build_server_verifier(x509.DNSName("miu.local")).verify(
            x509.load_der_x509_certificate(below), [x509.load_der_x509_certificate(middle.certificate)]
        )


def test_a_certificate_lasts_397_days_at_most_and_is_renewed_long_before(authority: Authority) -> None:
    certificate, _ = leaf(authority, "miu.local")
    begin, end = webca.validity(certificate)
    assert end - begin + 1 <= 397 * DAY
    assert begin <= NOW - 3600 < NOW + 390 * DAY < end
    assert not webca.is_due(certificate, NOW)
    assert not webca.is_due(certificate, NOW + 270 * DAY)
    assert webca.is_due(certificate, NOW + 280 * DAY)
    assert webca.is_due(certificate, NOW - 10 * DAY), "this machine's clock was wrong when it was made, or is now"
    assert accepts(authority, certificate, "miu.local", NOW + 390 * DAY)
    assert not accepts(authority, certificate, "miu.local", NOW + 400 * DAY)


def test_a_request_is_for_its_own_key_and_few_names(authority: Authority) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    request = webca.request(key, ("miu.local", "10.0.0.5"))
    assert webca.asked_names(request) == ("miu.local", "10.0.0.5")
    damaged = request[:-1] + bytes([request[-1] ^ 1])
    crowd = webca.request(key, [f"host-{number}.local" for number in range(65)])
    p384 = webca.request(ec.generate_private_key(ec.SECP384R1()), ("miu.local",))
    for wrong in (b"", b"x" * 5000, damaged, request[:-8], crowd, p384):
        with pytest.raises(InvalidRequest):
            webca.asked_names(wrong)


def test_who_asks_for_more_gets_what_was_granted(authority: Authority) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = webca.sign(authority, webca.request(key, ("miu.local", "boa.local")), ("miu.local",), NOW)
    assert webca.names_of(certificate) == ("miu.local",)
    assert webca.certifies(certificate, authority.certificate, key.public_key())
    assert not webca.certifies(certificate, authority.certificate, ec.generate_private_key(ec.SECP256R1()).public_key())
    assert not webca.certifies(certificate, webca.create("", "other", "x", NOW).certificate, key.public_key())
    assert not webca.certifies(b"x", authority.certificate, key.public_key())


def test_an_authority_that_is_none_is_refused(authority: Authority) -> None:
    webca.check(authority)
    other = webca.create("", "other", "x", NOW)
    for wrong in (
        msgspec.structs.replace(authority, key=other.key),
        msgspec.structs.replace(authority, key=b"x"),
        msgspec.structs.replace(authority, certificate=b"x"),
        msgspec.structs.replace(authority, certificate=leaf(authority, "miu.local")[0]),
    ):
        with pytest.raises(InvalidRequest):
            webca.check(wrong)


def _tls(directory: Path, authority: Authority, certificate: bytes, key: ec.EllipticCurvePrivateKey, name: str) -> str:
    """The outcome of a handshake by Python's ssl: the version, or why not."""
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = directory / "both.pem"
    file.write_bytes(secret + webca.pem(certificate).encode())
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    client = ssl.create_default_context(cadata=webca.pem(authority.certificate))
    here, there = socket.socketpair()

    def serve() -> None:
        try:
            server.wrap_socket(there, server_side=True).close()
        except OSError:
            there.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(here, server_hostname=name) as wrapped:
            return wrapped.version() or ""
    except ssl.SSLCertVerificationError as problem:
        return problem.verify_message
    finally:
        here.close()
        thread.join()


def test_python_s_ssl_says_the_same(tmp_path: Path, authority: Authority) -> None:
    fresh = dt.datetime.now(dt.UTC).timestamp()
    certificate, key = leaf(authority, "miu.local", "10.0.0.5", now=fresh)
    assert _tls(tmp_path, authority, certificate, key, "miu.local") == "TLSv1.3"
    assert _tls(tmp_path, authority, certificate, key, "10.0.0.5") == "TLSv1.3"
    assert "mismatch" in _tls(tmp_path, authority, certificate, key, "boa.local").lower()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl program here")
def test_the_openssl_program_says_the_same(tmp_path: Path, authority: Authority) -> None:
    (tmp_path / "ca.pem").write_text(webca.pem(authority.certificate))

    def verify(certificate: bytes) -> str:
        (tmp_path / "leaf.pem").write_text(webca.pem(certificate))
        done = subprocess.run(
            ["openssl", "verify", "-x509_strict", "-attime", str(int(NOW)), "-CAfile", "ca.pem", "leaf.pem"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout + done.stderr

    assert "leaf.pem: OK" in verify(leaf(authority, *LOCAL)[0])
    for name in PUBLIC:
        assert "permitted subtree violation" in verify(forged(authority, name)), name


@pytest.mark.parametrize("title", ["ü" * 64, "日本" * 32, "x" * 200])
def test_a_swarm_of_any_name_can_have_one(title: str) -> None:
    webca.check(webca.create("", title, "keeper", NOW))


def variant(authority: Authority, **changed: x509.ExtensionType | None) -> Authority:
    """The CA with extensions put in the place of its own, by the names of their classes; None leaves one out."""
    honest = x509.load_der_x509_certificate(authority.certificate)
    key = serialization.load_der_private_key(authority.key, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    builder = x509.CertificateBuilder(
        honest.issuer,
        honest.subject,
        honest.public_key(),
        honest.serial_number,
        honest.not_valid_before_utc,
        honest.not_valid_after_utc,
    )
    for extension in honest.extensions:
        value = changed.get(type(extension.value).__name__, extension.value)
        if value is not None:
            builder = builder.add_extension(value, extension.critical)
    made = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    return msgspec.structs.replace(authority, certificate=made)


@pytest.mark.parametrize(
    "changed",
    [
        {"NameConstraints": None},
        {"NameConstraints": x509.NameConstraints([x509.DNSName("local"), x509.DNSName("com")], None)},
        {"NameConstraints": x509.NameConstraints(None, [x509.DNSName("example.com")])},
        {"BasicConstraints": x509.BasicConstraints(ca=True, path_length=None)},
        {"ExtendedKeyUsage": x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])},
        {"ExtendedKeyUsage": None},
    ],
    ids=["no constraints", "wider", "only exclusions", "signs authorities", "any usage", "no usage"],
)
def test_an_authority_that_could_do_harm_is_no_web_ca(
    authority: Authority, changed: dict[str, x509.ExtensionType | None]
) -> None:
    webca.check(variant(authority))
    with pytest.raises(InvalidRequest):
        webca.check(variant(authority, **changed))
