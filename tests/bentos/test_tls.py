"""TLS on gRPC: only who trusts the certificate is answered, and a certificate that cannot work is told at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from invented_certificate import self_signed

from bentos.match_odds.front.tls import TlsError, TlsFiles, server_credentials, tls_files
from betting_assets.settings import Settings

METHOD = "/betting.v1.Test/Ask"


def _settings(certificate: Path | None, key: Path | None) -> Settings:
    return Settings(tls_certificate=certificate, tls_key=key)


async def _asked(files: TlsFiles, make_channel: Callable[[str], grpc.aio.Channel]) -> bytes:
    """The answer of a server with this certificate."""

    async def answer(request: bytes, context: object) -> bytes:
        return b"answer to " + request

    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(answer)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("betting.v1.Test", {"Ask": handler}),))
    credentials = server_credentials(_settings(files.certificate, files.key))
    assert credentials is not None
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    try:
        async with make_channel(f"127.0.0.1:{port}") as channel:
            answered: bytes = await channel.unary_unary(METHOD)(b"you", timeout=10)
            return answered
    finally:
        await server.stop(None)


def _trusting(certificate: Path) -> Callable[[str], grpc.aio.Channel]:
    return lambda address: grpc.aio.secure_channel(
        address, grpc.ssl_channel_credentials(root_certificates=certificate.read_bytes())
    )


def test_who_trusts_the_certificate_is_answered(tmp_path: Path) -> None:
    files = self_signed(tmp_path, "server")
    assert asyncio.run(_asked(files, _trusting(files.certificate))) == b"answer to you"


def test_nobody_else_is_answered(tmp_path: Path) -> None:
    files, other = self_signed(tmp_path, "server"), self_signed(tmp_path, "other")
    for make_channel in (_trusting(other.certificate), grpc.aio.insecure_channel):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            asyncio.run(_asked(files, make_channel))
        assert refused.value.code() == grpc.StatusCode.UNAVAILABLE


def test_without_a_certificate_there_is_no_tls() -> None:
    assert tls_files(_settings(None, None)) is None
    assert server_credentials(_settings(None, None)) is None


def test_what_cannot_work_is_told_in_one_line(tmp_path: Path) -> None:
    good, other = self_signed(tmp_path, "good"), self_signed(tmp_path, "other")
    hidden = self_signed(tmp_path, "hidden", passphrase=b"secret")
    garbage, missing = tmp_path / "garbage.pem", tmp_path / "missing.pem"
    garbage.write_text("not PEM")
    mistakes: list[tuple[Path | None, Path | None, str]] = [
        (good.certificate, None, "BETTING_TLS_KEY is not set"),
        (None, good.key, "BETTING_TLS_CERTIFICATE is not set"),
        (missing, good.key, f"BETTING_TLS_CERTIFICATE={missing} cannot be read (No such file or directory)"),
        (good.certificate, tmp_path, f"BETTING_TLS_KEY={tmp_path} cannot be read (Is a directory)"),
        (good.certificate, other.key, f"{other.key} is not the key of {good.certificate}"),
        (garbage, good.key, "not PEM without a passphrase"),
        (good.certificate, garbage, "not PEM without a passphrase"),
        (hidden.certificate, hidden.key, "not PEM without a passphrase"),
    ]
    for certificate, key, told in mistakes:
        with pytest.raises(TlsError) as error:
            server_credentials(_settings(certificate, key))
        assert told in str(error.value)
        assert "\n" not in str(error.value)
