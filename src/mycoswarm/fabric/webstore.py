"""[io] What a node keeps of web certificates in its state directory, 0600.

web-ca.json   the CA with its key, on keepers and on nodes in no swarm: it must be right, because people have told their
              computers to trust it; a damaged or newer one is left untouched, and no other is made in its place
web.pem       this node's key, its certificate and the CA's, as TLS loads them; a damaged one is as good as none
"""

import logging
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mycoswarm.core.errors import Fixable, InvalidRequest
from mycoswarm.fabric import webca
from mycoswarm.fabric.files import read_private, remove, write_private
from mycoswarm.fabric.webca import Authority

_log = logging.getLogger(__name__)

VERSION = 1
_HEAD = b"mycoswarm web certificate, version 1\n"
"""Before the first block of web.pem, where TLS does not look."""


class _Version(msgspec.Struct, frozen=True):
    version: int


class _File(msgspec.Struct, frozen=True):
    version: int
    authority: Authority


class Shown(msgspec.Struct, frozen=True):
    """A node's web certificate and the CA that signed it, DER."""

    certificate: bytes
    authority: bytes


class WebStore:
    """The two files."""

    def __init__(self, state: Path) -> None:
        self.authority_file = state / "web-ca.json"
        self.certificate_file = state / "web.pem"

    def authority(self) -> Authority | None:
        """The CA that this node holds, None for none. Raises Fixable for a damaged or newer one."""
        data = read_private(self.authority_file)
        if data is None:
            return None
        try:
            if msgspec.json.decode(data, type=_Version).version > VERSION:
                raise Fixable(
                    f"the web CA in {self.authority_file} was written by a newer version of mycoSwarm",
                    "update this machine",
                )
            held = msgspec.json.decode(data, type=_File).authority
            webca.check(held)
        except (msgspec.DecodeError, UnicodeDecodeError, InvalidRequest) as problem:
            raise Fixable(
                f"the web CA in {self.authority_file} cannot be used: {problem}",
                "bring the file back from a backup, or remove it: then a new one is made, which has to be trusted anew",
            ) from None
        return held

    def keep_authority(self, held: Authority | None) -> None:
        """Write it, or destroy it."""
        if held is None:
            remove(self.authority_file)
        else:
            write_private(self.authority_file, msgspec.json.encode(_File(VERSION, held)))

    def certificate(self) -> Shown | None:
        """What is shown to callers, None where there is nothing of use."""
        data = read_private(self.certificate_file)
        if data is None:
            return None
        try:
            if not data.startswith(_HEAD):
                raise ValueError("it is of another version")
            key = serialization.load_pem_private_key(data, None)
            leaf, authority = x509.load_pem_x509_certificates(data)
            if key.public_key() != leaf.public_key():
                raise ValueError("key and certificate do not belong together")
        except (ValueError, TypeError) as problem:
            _log.warning("%s is of no use (%s); a new certificate is made", self.certificate_file, problem)
            return None
        der = serialization.Encoding.DER
        return Shown(leaf.public_bytes(der), authority.public_bytes(der))

    def keep_certificate(self, key: ec.EllipticCurvePrivateKey, shown: Shown) -> None:
        """Replace key and certificates in one step."""
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        chain = webca.pem(shown.certificate) + webca.pem(shown.authority)
        write_private(self.certificate_file, _HEAD + secret + chain.encode())
