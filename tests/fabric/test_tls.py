import asyncio
import ssl
from pathlib import Path

from mycoswarm.fabric import tls
from mycoswarm.fabric.identity import load_or_create


def test_contexts_speak_tls_1_3_only_and_keep_no_sessions(tmp_path: Path) -> None:
    identity = load_or_create(tmp_path)
    server = tls.server_context(identity)
    assert server.minimum_version is ssl.TLSVersion.TLSv1_3
    assert server.num_tickets == 0
    assert server.verify_mode is ssl.CERT_OPTIONAL
    for context in (tls.member_context(identity, identity.certificate), tls.stranger_context(identity.certificate)):
        assert context.minimum_version is ssl.TLSVersion.TLSv1_3
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        assert len(context.get_ca_certs()) <= 1


async def test_who_answers_at_an_address(tmp_path: Path) -> None:
    identity = load_or_create(tmp_path)
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0, ssl=tls.server_context(identity))
    port = server.sockets[0].getsockname()[1]
    assert await tls.certificate_at("127.0.0.1", port, 2.0) == identity.certificate
    server.close()
    assert await tls.certificate_at("127.0.0.1", port, 2.0) is None
