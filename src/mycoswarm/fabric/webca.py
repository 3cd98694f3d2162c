"""The web CA of a swarm and the certificates that it signs. No I/O: `now` comes with each question.

Browsers and other people's programs know nothing of rosters: they want a certificate for the name in the address bar,
from an authority that they were told to trust. Telling a computer to trust one is a large thing to ask, so this one is
made unable to do harm: it is *constrained* to names and addresses that exist on local networks only (LOCAL_NAMES,
LOCAL_NETWORKS), may sign no further authority (pathlen 0) and nothing but servers' certificates. Whoever steals its
key can pass himself off as a machine on the owner's own network, and never as a public site.

The plain name of a host (`miu`) is not among the names: a constraint that permits `miu` permits everything below `.miu`
too, and some plain names are public (`.mini`, `.box`); besides, an authority that is trusted already cannot be taught
the names of machines that come later. `miu.local` needs neither.
"""

import datetime as dt
import ipaddress
from collections.abc import Iterable

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mycoswarm.core.errors import InvalidRequest, Refused
from mycoswarm.core.ids import SwarmId

LIFE = 397 * 86400
"""Seconds that a certificate is valid: the longest that browsers have agreed to accept."""
EARLY = 86400
"""Seconds before its making from which it is valid: clocks on a network differ."""
RENEW = 120 * 86400
"""Seconds before its end from which a new one is made: four months for some keeper to be switched on."""
WARN = 30 * 86400
"""Seconds before its end from which the owner is told: what should have renewed it has not."""

LOCAL_NAMES = ("local", "localhost", "home.arpa", "internal")
"""Of multicast DNS, of this machine, and the two that are reserved for networks of one's own."""
LOCAL_NETWORKS = (
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "127.0.0.0/8",
    "fc00::/7",
    "fe80::/10",
    "::1/128",
)
MAX_NAMES = 64
"""Names and addresses in one certificate."""
MAX_CSR = 4096
"""Bytes; ours have about 250."""

_FIRST = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
_LAST = dt.datetime(2099, 12, 31, 23, 59, 59, tzinfo=dt.UTC)
_NETWORKS = tuple(ipaddress.ip_network(network) for network in LOCAL_NETWORKS)
_CONSTRAINTS = x509.NameConstraints(
    permitted_subtrees=[
        *(x509.DNSName(local) for local in LOCAL_NAMES),
        *(x509.IPAddress(network) for network in _NETWORKS),
    ],
    excluded_subtrees=None,
)
_ORGANISATION = "mycoSwarm"
_MAX_COMMON_NAME = 64
"""Bytes, by RFC 5280."""


class Authority(msgspec.Struct, frozen=True, kw_only=True):
    """A web CA with its key, as keepers keep and exchange it.

    swarm: empty for that of a node which is in none. certificate: DER. key: DER (PKCS 8). made: seconds since 1970.
    generation: one more whenever somebody who has had the key is no keeper any more. holders: keepers that have had it.
    """

    swarm: str
    certificate: bytes
    key: bytes
    made: int
    generation: int = 0
    holders: tuple[str, ...] = ()

    @property
    def rank(self) -> tuple[int, int, bytes]:
        """The smallest is in force where keepers hold different ones: the newest generation, of these the oldest."""
        return (-self.generation, self.made, self.certificate)


def create(swarm: SwarmId | str, title: str, holder: str, now: float, generation: int = 0) -> Authority:
    """A new CA. title: what its owner knows the swarm or machine by, for lists of authorities."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, _ORGANISATION),
            x509.NameAttribute(NameOID.COMMON_NAME, _cut(f"mycoSwarm {title}")),
        ]
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # As long as a node's own certificate, and for the same reason: no wrong date must lock anybody out.
        .not_valid_before(_FIRST)
        .not_valid_after(_LAST)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(_CONSTRAINTS, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(
        swarm=swarm,
        certificate=certificate.public_bytes(serialization.Encoding.DER),
        key=key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        made=int(now),
        generation=generation,
        holders=(holder,),
    )


def check(authority: Authority) -> None:
    """Whether it is one of ours and its key fits. Raises InvalidRequest."""
    public = check_harmless(authority.certificate)
    try:
        key = serialization.load_der_private_key(authority.key, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as problem:
        raise InvalidRequest("the web CA's key cannot be read") from problem
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != public:
        raise InvalidRequest("the web CA and its key do not belong together")


def check_harmless(certificate: bytes) -> ec.EllipticCurvePublicKey:
    """Whether trusting this CA (DER) is as harmless as trusting one that `create` makes; its key.

    Asked of every CA that comes from another machine, before it is shown to anybody who might install it: one without
    the constraints, from a keeper that means ill, could pass for any site in the world.

    Raises:
        InvalidRequest: it is not.
    """
    try:
        read = x509.load_der_x509_certificate(certificate)
        found = read.extensions
        basic = found.get_extension_for_class(x509.BasicConstraints)
        names = found.get_extension_for_class(x509.NameConstraints)
        usage = found.get_extension_for_class(x509.ExtendedKeyUsage)
        public = read.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.ExtensionNotFound, x509.InvalidVersion) as problem:
        raise InvalidRequest("the web CA cannot be read") from problem
    if not isinstance(public, ec.EllipticCurvePublicKey) or not basic.value.ca or basic.value.path_length != 0:
        raise InvalidRequest("the web CA is no such authority")
    if not names.critical or names.value != _CONSTRAINTS or list(usage.value) != [ExtendedKeyUsageOID.SERVER_AUTH]:
        raise InvalidRequest("the web CA is not constrained to servers of local networks")
    return public


def request(key: ec.EllipticCurvePrivateKey, names: Iterable[str]) -> bytes:
    """A certificate request (DER) for these names and addresses."""
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .add_extension(x509.SubjectAlternativeName(_general(names)), critical=True)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.DER)
    )


def asked_names(csr: bytes) -> tuple[str, ...]:
    """What a request asks for. Raises InvalidRequest for what is none of ours, or not signed by its own key."""
    try:
        if len(csr) > MAX_CSR:
            raise InvalidRequest("the certificate request is too large")
        read = x509.load_der_x509_csr(csr)
        if not isinstance(key := read.public_key(), ec.EllipticCurvePublicKey) or not isinstance(
            key.curve, ec.SECP256R1
        ):
            raise InvalidRequest("the key in the certificate request is not of the kind that nodes have")
        if not read.is_signature_valid:
            raise InvalidRequest("the certificate request is not signed by its own key")
        alternative = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = [*alternative.get_values_for_type(x509.DNSName)]
        names += [str(address) for address in alternative.get_values_for_type(x509.IPAddress)]
    except (ValueError, UnsupportedAlgorithm, InvalidSignature, x509.ExtensionNotFound) as problem:
        raise InvalidRequest("the certificate request cannot be read") from problem
    if len(names) > MAX_NAMES:
        raise InvalidRequest(f"a certificate names {MAX_NAMES} names and addresses at most")
    return tuple(names)


def sign(authority: Authority, csr: bytes, names: Iterable[str], now: float) -> bytes:
    """A server's certificate (DER) for the key in `csr`, good for `names` and for nothing else that it asks.

    Raises:
        InvalidRequest: the request cannot be read. Refused: no name is left.
    """
    names = tuple(name for name in names if permitted(name))
    if not names:
        raise Refused("there is no name or address that this web CA may certify", "is the machine on a local network?")
    asked_names(csr)
    public = x509.load_der_x509_csr(csr).public_key()
    issuer = x509.load_der_x509_certificate(authority.certificate)
    key = serialization.load_der_private_key(authority.key, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey), "`check` has seen to it"
    begin = dt.datetime.fromtimestamp(int(now) - EARLY, dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, _ORGANISATION)]))
        .issuer_name(issuer.subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        # Both ends count as valid, so a full 397 days would be one second too many.
        .not_valid_after(begin + dt.timedelta(seconds=LIFE - 1))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(_general(names)), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
                issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
            ),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.DER)


def permitted(name: str) -> bool:
    """Whether the CA may sign for this name or address at all."""
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return any(name == local or name.endswith("." + local) for local in LOCAL_NAMES) and _is_name(name)
    return any(address.version == network.version and address in network for network in _NETWORKS)


def names_of(certificate: bytes) -> tuple[str, ...]:
    """The names and addresses that a certificate (DER) is good for."""
    extension = x509.load_der_x509_certificate(certificate).extensions
    alternative = extension.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = [str(address) for address in alternative.get_values_for_type(x509.IPAddress)]
    return (*alternative.get_values_for_type(x509.DNSName), *addresses)


def validity(certificate: bytes) -> tuple[float, float]:
    """From when until when a certificate (DER) is valid, in seconds since 1970."""
    read = x509.load_der_x509_certificate(certificate)
    return read.not_valid_before_utc.timestamp(), read.not_valid_after_utc.timestamp()


def is_due(certificate: bytes, now: float) -> bool:
    """Whether a new one should be made: its end is near or past, or it is not valid yet by this machine's clock."""
    begin, end = validity(certificate)
    return not begin <= now < end - RENEW


def certifies(certificate: bytes, authority: bytes, key: ec.EllipticCurvePublicKey) -> bool:
    """Whether `certificate` (DER) is for this key and was signed by `authority` (DER)."""
    try:
        read = x509.load_der_x509_certificate(certificate)
        read.verify_directly_issued_by(x509.load_der_x509_certificate(authority))
        return read.public_key() == key
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm, x509.InvalidVersion):
        return False


def pem(certificate: bytes) -> str:
    """A certificate (DER) as people pass it on."""
    return x509.load_der_x509_certificate(certificate).public_bytes(serialization.Encoding.PEM).decode()


def _cut(title: str) -> str:
    return title.encode("utf-8", "replace")[:_MAX_COMMON_NAME].decode("utf-8", "ignore")


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _general(names: Iterable[str]) -> list[x509.GeneralName]:
    found: list[x509.GeneralName] = []
    for name in names:
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            found.append(x509.DNSName(name))
    return found


def _is_name(name: str) -> bool:
    """Whether every label is one that a host may have: letters, digits and hyphens."""
    labels = name.split(".")
    return len(name) <= 253 and all(
        0 < len(label) <= 63
        and label.isascii()
        and label.replace("-", "").isalnum()
        and label == label.lower()
        and not label.startswith("-")
        and not label.endswith("-")
        for label in labels
    )
