"""[io] TLS contexts: whom the peer port lets in, and whom a dialling node accepts.

TLS 1.3 only, no session tickets (a resumed session would outlive a removal), no other authority than the certificates
that are named here one by one. Certificates are self-signed with CA:FALSE, so trusting one trusts exactly that one.
"""

import asyncio
import contextlib
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mycoswarm.fabric.identity import Identity


def _pem(certificate: bytes) -> str:
    return x509.load_der_x509_certificate(certificate).public_bytes(Encoding.PEM).decode()


def server_context(identity: Identity) -> ssl.SSLContext:
    """For the peer port: asks for a certificate without demanding one, so that `/join` can be reached."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0
    context.load_cert_chain(identity.certificate_file, identity.key_file)
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


def web_context(certificate: Path) -> ssl.SSLContext:
    """For the LAN's listener. certificate: PEM of key and chain. Who calls is told by his key, not by a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(certificate)
    return context


def trust(context: ssl.SSLContext, certificate: bytes) -> None:
    """Let handshakes with this certificate (DER) pass from now on, also on listeners that are open.

    There is no way back: OpenSSL cannot forget. So passing a handshake means nothing here; the peer API compares the
    exact certificate with the roster of that moment on every request.
    """
    context.load_verify_locations(cadata=_pem(certificate))


def member_context(identity: Identity, peer: bytes) -> ssl.SSLContext:
    """For dialling a member: shows our certificate, accepts only `peer` (DER). Use server_hostname = its node id."""
    context = stranger_context(peer)
    context.load_cert_chain(identity.certificate_file, identity.key_file)
    return context


def stranger_context(peer: bytes) -> ssl.SSLContext:
    """For talking to a node that has told its certificate but does not know ours yet: joining."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = True
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=_pem(peer))
    return context


def unverified_context() -> ssl.SSLContext:
    """For the first message of joining: nobody's certificate is known yet, and nothing secret is said.

    What comes back is bound by the key confirmation of `pairing`; whoever sits in between is found out there.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def certificate_at(host: str, port: int, patience: float) -> bytes | None:
    """The certificate (DER) that the node at an address shows, None where none answers within `patience` seconds.

    Whoever answers there has proven to own its key, and nothing more.
    """
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(patience):
            _, writer = await asyncio.open_connection(host, port, ssl=unverified_context(), server_hostname="")
            try:
                return writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            finally:
                # Not `abort`: it would look like a handshake that was broken off, and be counted there as an attack.
                writer.close()
    return None
