"""[io] This node's key and certificate.

Node id = base32 (lower case, no padding) of the SHA-256 of the public key's SubjectPublicKeyInfo: whoever proves
possession of the key *is* the node, and there is nothing to look up or to renew. The certificate is self-signed, may
sign nothing (CA:FALSE), and is valid from 2000 to 2099, because a machine without a battery clock has a wrong date.

A new key lies in one file of its own, with its certificate, until the swarm's roster knows it; only then does it take
the place of the old one, in steps that may be repeated after a crash at any of them. The old one lies beside it from
then on, until a member has been met under the new one (`succession`): nobody else is believed who the successor is.
"""

import base64
import datetime as dt
import functools
import hashlib
import logging
import ssl
import stat
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mycoswarm.core.errors import Fixable, InvalidRequest
from mycoswarm.core.ids import NodeId
from mycoswarm.fabric.files import read_private, remove, write_private

_log = logging.getLogger(__name__)

MAX_CERTIFICATE = 2048
"""Bytes of DER; ours have about 480."""

KEY_FILE = "node.key"
CERTIFICATE_FILE = "node.crt"
NEXT_FILE = "node.next"
"""Key and certificate of a rotation that is not finished."""
PREVIOUS_FILE = "node.previous"
"""Key and certificate from before a rotation that no member may have heard of yet."""
_ANEW = "bring it back from a backup, or remove {} to start as a new node"
SIGNING = ec.ECDSA(hashes.SHA256())
"""Every signature of a node."""


def node_id_of(key: ec.EllipticCurvePublicKey) -> NodeId:
    """The id that belongs to a public key."""
    spki = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return NodeId(base64.b32encode(hashlib.sha256(spki).digest()).decode().rstrip("=").lower())


# A roster names the same few certificates again and again, and reading one costs as much as a signature's check.
@functools.lru_cache(maxsize=512)
def public_key_of(certificate: bytes) -> ec.EllipticCurvePublicKey:
    """The P-256 key in a DER certificate. Raises InvalidRequest for anything else."""
    if len(certificate) > MAX_CERTIFICATE:
        raise InvalidRequest("the certificate is too large for a node's")
    try:
        key = x509.load_der_x509_certificate(certificate).public_key()
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion) as problem:
        raise InvalidRequest("the certificate cannot be read") from problem
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise InvalidRequest("the certificate's key is not of the kind that nodes have")
    return key


# As many as a roster may hold: it asks again for each whenever it changes.
@functools.lru_cache(maxsize=2048)
def certified_id(certificate: bytes) -> NodeId:
    """The node id that a DER certificate belongs to, one that TLS can work with. Raises InvalidRequest."""
    identity = node_id_of(public_key_of(certificate))
    try:
        # TLS refuses some that were read until here (a name that is no UTF-8, for one). In a roster such a one would
        # keep every member from trusting the others, and from starting again.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=certificate)
    except ssl.SSLError as problem:
        raise InvalidRequest("the certificate cannot be read by TLS") from problem
    return identity


def verify(certificate: bytes, signature: bytes, data: bytes) -> bool:
    """Whether the key in `certificate` signed `data`. Raises InvalidRequest for a certificate that is none."""
    try:
        public_key_of(certificate).verify(signature, data, SIGNING)
    except InvalidSignature:
        return False
    return True


@dataclass(frozen=True)
class Identity:
    """The key pair of one node. `certificate` is DER; the two files are what TLS loads."""

    id: NodeId
    certificate: bytes
    key: ec.EllipticCurvePrivateKey
    key_file: Path
    certificate_file: Path

    def sign(self, data: bytes) -> bytes:
        """ECDSA over SHA-256, DER."""
        return self.key.sign(data, SIGNING)


def load_or_create(state: Path) -> Identity:
    """The identity that lies in `state`, made at the first start.

    Raises:
        Fixable: the key is readable by others, or a file is damaged. It is never replaced silently: a new key would be
            a new node, unknown to its swarm.
    """
    key_file, certificate_file = state / KEY_FILE, state / CERTIFICATE_FILE
    pem = read_private(key_file)
    if pem is None:
        return _create(key_file, certificate_file)
    key = _read_key(key_file, pem)
    identity = node_id_of(key.public_key())
    certificate_pem = read_private(certificate_file)
    if certificate_pem is None:
        raise Fixable(f"the node's certificate {certificate_file} is missing beside its key", _ANEW.format(key_file))
    return Identity(
        identity, _read_certificate(certificate_file, certificate_pem, identity), key, key_file, certificate_file
    )


def prepare_next(state: Path) -> Identity:
    """A new key beside the present one. It is on disk when this returns, and in force once `adopt_next` was called."""
    made = _made(state / KEY_FILE, state / CERTIFICATE_FILE)
    write_private(state / NEXT_FILE, _pem_of(made.key) + _pem_certificate(made.certificate))
    return made


def pending_next(state: Path) -> Identity | None:
    """The new key of a rotation that is not finished. Raises Fixable for a damaged one."""
    path = state / NEXT_FILE
    pem = read_private(path)
    if pem is None:
        return None
    return _read_both(path, pem, state / KEY_FILE, state / CERTIFICATE_FILE)


def adopt_next(state: Path) -> None:
    """Put the new key in the old one's place. May be called again after a crash; nothing where there is none."""
    new = pending_next(state)
    if new is not None:
        _keep_previous(state, new.id)
        write_private(new.certificate_file, _pem_certificate(new.certificate))
        write_private(new.key_file, _pem_of(new.key))
        remove(state / NEXT_FILE)


def drop_next(state: Path) -> None:
    """Forget a new key that the swarm never heard of."""
    remove(state / NEXT_FILE)


def previous(state: Path) -> Identity | None:
    """The key before the present one, where it is still kept. One that cannot be used is as good as none."""
    path = state / PREVIOUS_FILE
    pem = read_private(path)
    if pem is None:
        return None
    try:
        # TLS takes both from the one file.
        return _read_both(path, pem, path, path)
    except Fixable as problem:
        _log.warning("the swarm cannot be told of the new key by the old one: %s", problem.message)
        return None


def drop_previous(state: Path) -> None:
    """Destroy the old key: the swarm knows the new one."""
    remove(state / PREVIOUS_FILE)


def _keep_previous(state: Path, new: NodeId) -> None:
    pem, certificate = read_private(state / KEY_FILE), read_private(state / CERTIFICATE_FILE)
    if pem is None or certificate is None:
        return
    # After a crash between the steps the key is here already, and its certificate may be replaced; or both are.
    known = {new} if (kept := previous(state)) is None else {new, kept.id}
    if node_id_of(_read_key(state / KEY_FILE, pem).public_key()) not in known:
        write_private(state / PREVIOUS_FILE, pem + certificate)


def _create(key_file: Path, certificate_file: Path) -> Identity:
    made = _made(key_file, certificate_file)
    # The key comes last: it alone says that there is an identity, so a crash in between is just a first start again.
    write_private(certificate_file, _pem_certificate(made.certificate))
    write_private(key_file, _pem_of(made.key))
    return made


def _made(key_file: Path, certificate_file: Path) -> Identity:
    key = ec.generate_private_key(ec.SECP256R1())
    identity = node_id_of(key.public_key())
    certificate = _certificate(key, identity).public_bytes(serialization.Encoding.DER)
    return Identity(identity, certificate, key, key_file, certificate_file)


def _pem_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _pem_certificate(certificate: bytes) -> bytes:
    return x509.load_der_x509_certificate(certificate).public_bytes(serialization.Encoding.PEM)


def _read_both(path: Path, pem: bytes, key_file: Path, certificate_file: Path) -> Identity:
    key = _read_key(path, pem)
    identity = node_id_of(key.public_key())
    return Identity(identity, _read_certificate(path, pem, identity), key, key_file, certificate_file)


def _read_key(path: Path, pem: bytes) -> ec.EllipticCurvePrivateKey:
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise Fixable(
            f"the node's key {path} can be read by other users of this machine",
            f"chmod 600 {path}, and if somebody may have copied it remove it to start as a new node",
        )
    hint = _ANEW.format(path)
    try:
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError) as problem:
        raise Fixable(f"the node's key {path} is damaged", hint) from problem
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise Fixable(f"the node's key {path} is of another kind than ours", hint)
    return key


def _read_certificate(path: Path, pem: bytes, identity: NodeId) -> bytes:
    hint = _ANEW.format(path.parent / KEY_FILE)
    try:
        der = x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)
        owner = certified_id(der)
    except (ValueError, InvalidRequest) as problem:
        raise Fixable(f"the node's certificate {path} is damaged", hint) from problem
    if owner != identity:
        raise Fixable(f"the node's certificate {path} belongs to another key", hint)
    return der


def _certificate(key: ec.EllipticCurvePrivateKey, identity: NodeId) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, identity)])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(dt.datetime(2000, 1, 1, tzinfo=dt.UTC))
        .not_valid_after(dt.datetime(2099, 12, 31, 23, 59, 59, tzinfo=dt.UTC))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(identity)]), critical=False)
        .sign(key, hashes.SHA256())
    )
