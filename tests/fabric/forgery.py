"""What a thief makes of a certificate whose key he has not."""

import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


def stolen_certificate(certificate: bytes, directory: Path) -> ssl.SSLContext:
    """A client's context that shows `certificate` (DER) and signs with a key that does not belong to it.

    OpenSSL compares a certificate with the public half that a key file names, and takes that half at its word.
    """
    loaded = x509.load_der_x509_certificate(certificate)
    public = loaded.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    private = ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value.to_bytes(32, "big")
    curve = bytes.fromhex("06082a8648ce3d030107")
    bits = _tlv(0x03, b"\0" + public)
    key = _tlv(0x30, _tlv(0x02, b"\1") + _tlv(0x04, private) + _tlv(0xA0, curve) + _tlv(0xA1, bits))
    file = directory / "stolen.pem"
    pem = loaded.public_bytes(Encoding.PEM).decode()
    file.write_text(f"{pem}{ssl.DER_cert_to_PEM_cert(key).replace('CERTIFICATE', 'EC PRIVATE KEY')}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_cert_chain(file)
    return context


def _tlv(tag: int, value: bytes) -> bytes:
    """One element of DER."""
    length = bytes([len(value)]) if len(value) < 128 else bytes([0x81, len(value)])
    return bytes([tag]) + length + value
