"""TLS: the certificate that settings name, checked once at the start, for gRPC. HTTP takes the same files."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import grpc

    from betting_assets.settings import Settings


class TlsError(RuntimeError):
    """The certificate cannot be used; the message is one line: what, where, how to mend it."""


@dataclass(frozen=True)
class TlsFiles:
    """Readable PEM files: a chain, and the private key of its first certificate."""

    certificate: Path
    key: Path


def tls_files(config: Settings) -> TlsFiles | None:
    """The files that settings name, None where they name none.

    Raises:
        TlsError: one is missing, cannot be read, or they do not belong together.
    """
    certificate, key = config.tls_certificate, config.tls_key
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        missing = "BETTING_TLS_CERTIFICATE" if certificate is None else "BETTING_TLS_KEY"
        raise TlsError(f"{missing} is not set: TLS needs a certificate and its key, or neither")
    for variable, file in (("BETTING_TLS_CERTIFICATE", certificate), ("BETTING_TLS_KEY", key)):
        _read(variable, file)
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key, password=_no_password)
    except (ssl.SSLError, ValueError) as error:
        mismatch = "KEY_VALUES_MISMATCH" in str(error)
        what = "is not the key of" if mismatch else "and its key are not PEM without a passphrase:"
        told = f"{key} {what} {certificate}" if mismatch else f"{certificate} {what} {key}"
        raise TlsError(f"{told}; mend BETTING_TLS_CERTIFICATE and BETTING_TLS_KEY") from error
    return TlsFiles(certificate, key)


def server_credentials(config: Settings) -> grpc.ServerCredentials | None:
    """What a gRPC server needs to speak TLS; None where settings name no certificate. Raises TlsError."""
    files = tls_files(config)
    if files is None:
        return None
    import grpc

    return grpc.ssl_server_credentials([(files.key.read_bytes(), files.certificate.read_bytes())])


def _read(variable: str, file: Path) -> None:
    try:
        file.read_bytes()
    except OSError as error:
        raise TlsError(f"{variable}={file} cannot be read ({os.strerror(error.errno or 0)}); mend it") from error


def _no_password() -> str:
    """OpenSSL would ask for the passphrase on the terminal, where nobody sits."""
    raise ValueError("the key has a passphrase")
