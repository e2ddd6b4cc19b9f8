"""`--web.config.file`: TLS, passwords and headers, in the format of the Prometheus exporters; read again on change."""

from __future__ import annotations

import logging
import re
import ssl
import threading
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator, Field, model_validator

from exporter.config import ConfigError, load_other
from exporter.fields import Settings
from exporter.mistakes import Wrong

log = logging.getLogger("exporter.web")
_HASH = re.compile(r"\$2[aby]\$(0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{53}")
_VERSIONS = {
    "TLS10": ssl.TLSVersion.TLSv1,
    "TLS11": ssl.TLSVersion.TLSv1_1,
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}
_CLIENTS = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
_UNVERIFIED = ("RequestClientCert", "RequireAnyClientCert")
Version = Literal["TLS10", "TLS11", "TLS12", "TLS13"]


def _client_auth(value: object) -> object:
    if value in _UNVERIFIED:
        raise ValueError(f"{value} verifies nothing: use RequireAndVerifyClientCert with client_ca_file")
    return value


class Tls(Settings):
    cert_file: str = Field(min_length=1)
    key_file: str = Field(min_length=1)
    client_auth_type: Annotated[
        Literal["NoClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert"], BeforeValidator(_client_auth)
    ] = "NoClientCert"
    client_ca_file: str | None = None
    min_version: Version = "TLS12"
    max_version: Version = "TLS13"

    @model_validator(mode="after")
    def _fits(self) -> Tls:
        if (self.client_ca_file is None) != (self.client_auth_type == "NoClientCert"):
            raise ValueError("client_ca_file and a client_auth_type that verifies belong together")
        if self.min_version > self.max_version:
            raise ValueError("min_version is above max_version")
        return self


Headers = Literal[
    "Content-Security-Policy",
    "Strict-Transport-Security",
    "X-Content-Type-Options",
    "X-Frame-Options",
    "X-XSS-Protection",
]


class Http(Settings):
    headers: dict[Headers, str] = Field(default_factory=dict)


def _users(value: object) -> object:
    """Check names and hashes here: no message may show a password that was written in place of its hash."""
    if not isinstance(value, dict):
        raise ValueError("a mapping of names to bcrypt hashes is expected")
    for name, text in value.items():
        if not isinstance(name, str) or ":" in name or not name:
            raise ValueError("the name of a user is text without a colon")
        if not isinstance(text, str) or not _HASH.fullmatch(text):
            raise ValueError(f"the password of {name} is no bcrypt hash: make one with htpasswd -nBC 10 {name}")
    return value


class Web(Settings):
    """The whole file."""

    tls_server_config: Tls | None = None
    http_server_config: Http = Http()
    basic_auth_users: Annotated[dict[str, str], BeforeValidator(_users)] = Field(default_factory=dict)

    @property
    def authenticates(self) -> bool:
        """Whether nobody gets in without a password or a certificate."""
        tls = self.tls_server_config
        by_certificate = tls is not None and tls.client_auth_type == "RequireAndVerifyClientCert"
        return bool(self.basic_auth_users) or by_certificate


class Read(NamedTuple):
    """A file that could be read, and the TLS context that it asks for."""

    web: Web
    context: ssl.SSLContext | None


def read(path: Path) -> Read:
    """Read the file, and the certificates that it names, beside it; raise ConfigError with every mistake."""
    web, lines = load_other(path, Web)
    if web.tls_server_config is None:
        return Read(web, None)
    try:
        return Read(web, _context(web.tls_server_config, path.resolve().parent))
    except _Unusable as error:
        raise ConfigError([lines.mistake(Wrong(("tls_server_config", error.key), str(error)))]) from error


class _Unusable(Exception):
    def __init__(self, key: str, message: str):
        super().__init__(message)
        self.key = key


def _context(tls: Tls, folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version, context.maximum_version = _VERSIONS[tls.min_version], _VERSIONS[tls.max_version]
    for key in ("cert_file", "key_file", "client_ca_file"):
        if name := getattr(tls, key):
            try:
                (folder / name).read_bytes()
            except OSError as error:
                raise _Unusable(key, f"{name} cannot be read: {error.strerror or error}") from error
    try:
        # Never ask for a passphrase on the terminal.
        context.load_cert_chain(folder / tls.cert_file, folder / tls.key_file, password=lambda: b"")
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise _Unusable("cert_file", f"{tls.cert_file} and {tls.key_file} cannot be used: {reason}") from error
    if tls.client_ca_file is not None:
        try:
            context.load_verify_locations(folder / tls.client_ca_file)
        except OSError as error:
            raise _Unusable("client_ca_file", f"{tls.client_ca_file} has no certificate: {error}") from error
        context.verify_mode = _CLIENTS[tls.client_auth_type]
    return context


class Kept:
    """The file as it was when it could last be read; each question looks whether it, or a certificate, has changed."""

    def __init__(self, path: Path | None):
        self._path = path
        self._lock = threading.Lock()
        self._seen: Any = None
        self.error = ""
        self._read = Read(Web(), None)
        if path is not None:
            self._read = read(path)
            self._seen = self._signature()

    def now(self) -> Read:
        """Return what is in force."""
        if self._path is not None:
            with self._lock:
                if (seen := self._signature()) != self._seen:
                    self._seen = seen
                    self._again(self._path)
        return self._read

    def _again(self, path: Path) -> None:
        try:
            found = read(path)
            if (found.context is None) != (self._read.context is None):
                raise ValueError(f"{path}: TLS was switched on or off: restart the exporter for that")
        except (ConfigError, ValueError) as error:
            self.error = str(error)
            log.error("what was in force stays: %s", error)
        else:
            self._read, self.error = found, ""
            log.info("%s was read again", path)

    def _signature(self) -> list[tuple[int, int, int] | None]:
        assert self._path is not None
        tls, folder = self._read.web.tls_server_config, self._path.resolve().parent
        names = [tls.cert_file, tls.key_file, tls.client_ca_file] if tls is not None else []
        return [_stat(path) for path in (self._path, *(folder / name for name in names if name))]


def _stat(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
