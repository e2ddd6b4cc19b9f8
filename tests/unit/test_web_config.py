"""The web configuration file: what is wrong in it, what it means, and what becomes of it when it changes."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

import bcrypt
import pytest
import trustme
from flask import Flask, request
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from exporter.config import ConfigError
from exporter.web import access
from exporter.web.access import Passwords, is_loopback
from exporter.web.config import Kept, read

HASHES = {name: bcrypt.hashpw(name.encode() + b"-word", bcrypt.gensalt(4)).decode() for name in ("ann", "bob")}
TLS = "tls_server_config: {cert_file: own.pem, key_file: own.key%s}\n"


def certificates(folder: Path, name: str = "127.0.0.1") -> trustme.CA:
    """Write a certificate, its key, and the authority's certificate."""
    authority = trustme.CA()
    own = authority.issue_cert(name)
    (folder / "own.pem").write_bytes(b"".join(pem.bytes() for pem in own.cert_chain_pems))
    own.private_key_pem.write_to_path(folder / "own.key")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    return authority


def wrong(folder: Path, text: str) -> list[str]:
    """What is said about a file."""
    (folder / "web.yml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        read(folder / "web.yml")
    return [f"{one.line}: {one.message}" for one in caught.value.mistakes]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("basic_auth_user: {}\n", "1: basic_auth_user: unknown key; did you mean basic_auth_users?"),
        ("rate_limit: {burst: 1}\n", "1: rate_limit: unknown key; known are"),
        ("tls_server_config:\n  cert: x\n", "2: tls_server_config.cert: unknown key"),
        ("tls_server_config:\n  cert_file: own.pem\n", "1: tls_server_config.key_file is missing"),
        (TLS % ", min_version: TLS9", "1: tls_server_config.min_version: one of"),
        (TLS % ", min_version: TLS13, max_version: TLS12", "1: tls_server_config: min_version is above max_version"),
        (TLS % ", client_auth_type: RequireAnyClientCert", "verifies nothing: use RequireAndVerifyClientCert"),
        (TLS % ", client_auth_type: RequireAndVerifyClientCert", "belong together"),
        (TLS % ", client_ca_file: ca.pem", "belong together"),
        (
            TLS % ", client_auth_type: RequireAndVerifyClientCert, client_ca_file: no.pem",
            "client_ca_file: no.pem cannot",
        ),
        ("http_server_config: {headers: {Server: x}}\n", "1: http_server_config.headers.Server: "),
        ("http_server_config:\n  http2: true\n", "2: http_server_config.http2: unknown key"),
        ("x: [\n", "2: not valid YAML"),
        ("basic_auth_users: {}\nbasic_auth_users: {}\n", "2: the key 'basic_auth_users' stands here a second time"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, expected: str) -> None:
    certificates(tmp_path)
    assert any(expected in one for one in wrong(tmp_path, text)), wrong(tmp_path, text)


@pytest.mark.parametrize(
    "users", ["geheim", "[geheim]", "{ann: geheim}", "{ann: [geheim]}", "{ann: 12345}", "{'a:b': geheim}"]
)
def test_a_password_in_place_of_its_hash_is_not_shown(tmp_path: Path, users: str) -> None:
    (told,) = wrong(tmp_path, f"basic_auth_users: {users}\n")
    assert told.startswith("1: basic_auth_users: ")
    assert "geheim" not in told
    assert "12345" not in told


@pytest.mark.parametrize("file", ["own.pem", "own.key"])
def test_certificates_that_cannot_be_used(tmp_path: Path, file: str) -> None:
    certificates(tmp_path)
    (tmp_path / file).write_text("no")
    assert "own.pem and own.key cannot be used" in wrong(tmp_path, TLS % "")[0]
    (tmp_path / file).unlink()
    assert f"{file} cannot be read: No such file" in wrong(tmp_path, TLS % "")[0]


def test_what_tls_is_asked_for(tmp_path: Path) -> None:
    """Versions and clients; paths are beside the file."""
    certificates(tmp_path)
    path = tmp_path / "web.yml"
    path.write_text(TLS % "")
    context = read(path).context
    assert context is not None
    assert (context.minimum_version, context.verify_mode) == (ssl.TLSVersion.TLSv1_2, ssl.CERT_NONE)
    assert not read(path).web.authenticates
    path.write_text(TLS % ", client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.pem, min_version: TLS13")
    context = read(path).context
    assert context is not None
    assert (context.minimum_version, context.verify_mode) == (ssl.TLSVersion.TLSv1_3, ssl.CERT_REQUIRED)
    assert read(path).web.authenticates
    path.write_text(TLS % ", client_auth_type: VerifyClientCertIfGiven, client_ca_file: ca.pem")
    assert not read(path).web.authenticates


def test_without_a_file_nothing_is_asked() -> None:
    assert Kept(None).now().context is None
    assert not Kept(None).now().web.authenticates


def test_a_changed_file_is_in_force_and_a_bad_one_is_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Said once, however often it is asked for."""
    path = tmp_path / "web.yml"
    path.write_text(f"basic_auth_users: {{ann: {HASHES['ann']}}}\n")
    kept = Kept(path)
    assert list(kept.now().web.basic_auth_users) == ["ann"]
    path.write_text("basic_auth_users: geheim\n")
    for _ in range(3):
        assert list(kept.now().web.basic_auth_users) == ["ann"]
    assert "what was in force stays" in caplog.text
    assert len(caplog.records) == 1
    assert kept.error.startswith(f"{path}:1: ")
    path.unlink()
    assert list(kept.now().web.basic_auth_users) == ["ann"]
    path.write_text(f"basic_auth_users: {{bob: {HASHES['bob']}, ann: {HASHES['ann']}}}\n")
    assert list(kept.now().web.basic_auth_users) == ["bob", "ann"]
    assert kept.error == ""
    certificates(tmp_path)
    path.write_text(TLS % "")
    assert kept.now().context is None
    assert "restart the exporter" in kept.error


def test_a_renewed_certificate_is_in_force(tmp_path: Path) -> None:
    """Though the file that names it is as it was."""
    certificates(tmp_path)
    (tmp_path / "web.yml").write_text(TLS % "")
    kept = Kept(tmp_path / "web.yml")
    first = kept.now().context
    assert kept.now().context is first
    certificates(tmp_path)
    assert kept.now().context not in {first, None}


def test_passwords() -> None:
    """Of the right user only; a long one counts as far as bcrypt reads it."""
    passwords = Passwords()
    long = "x" * 80
    users = HASHES | {"eve": bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4)).decode()}
    users["php"] = users["ann"].replace("$2b$", "$2y$")
    for _ in range(2):  # as found, and as remembered
        assert passwords.right(users, "ann", "ann-word")
        assert passwords.right(users, "php", "ann-word")
        assert passwords.right(users, "eve", long)
        for name, word in (
            ("ann", "bob-word"),
            ("ann", ""),
            ("zoe", "ann-word"),
            ("", ""),
            ("ann", "ann-word\0"),
            ("ä", "ö"),
        ):
            assert not passwords.right(users, name, word), name
    users["ann"] = HASHES["bob"]
    assert not passwords.right(users, "ann", "ann-word")


@given(name=st.text(max_size=5), word=st.text(max_size=90))
@hypothesis_settings(max_examples=30)
def test_any_text_is_no_password(name: str, word: str) -> None:
    assert not Passwords().right(HASHES, name, word)


def test_comparing_happens_once_and_takes_as_long_for_a_stranger(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong passwords do not push right ones out."""
    compared: list[bytes] = []
    real = bcrypt.checkpw

    def counting(word: bytes, hashed: bytes) -> bool:
        compared.append(hashed)
        return real(word, hashed)

    monkeypatch.setattr(access.bcrypt, "checkpw", counting)
    passwords = Passwords()
    users = {"ann": HASHES["ann"], "slow": bcrypt.hashpw(b"word", bcrypt.gensalt(5)).decode()}
    assert passwords.right(users, "ann", "ann-word")
    for number in range(150):
        assert not passwords.right(users, "ann", f"{number}")
    assert len(compared) == 151
    assert passwords.right(users, "ann", "ann-word")
    assert len(compared) == 151
    assert not passwords.right(users, "zoe", "x")
    assert compared[-1].startswith(b"$2b$05$")


def test_who_proved_a_name_is_known_by_it(tmp_path: Path) -> None:
    """To what writes down who did something; nobody else is, whatever the request claims."""
    path = tmp_path / "web.yml"
    path.write_text(f"basic_auth_users: {{ann: {HASHES['ann']}}}\n")
    for own, auth, expected in ((path, ("ann", "ann-word"), b"ann"), (None, ("ann", "ann-word"), b"None")):
        app = Flask("test")
        access.guard(app, Kept(own), "127.0.0.1")
        app.add_url_rule("/", view_func=lambda: str(request.remote_user))
        assert app.test_client().get("/", auth=auth, headers={"Remote-User": "bob"}).data == expected


def test_loopback() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.8.8.8", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "example.org", "")))


def test_promtool_takes_the_same_file(tmp_path: Path, need_tool, caplog: pytest.LogCaptureFixture) -> None:
    """What is good here is good there."""
    import subprocess

    caplog.set_level(logging.ERROR)
    certificates(tmp_path)
    extra = (
        ", client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.pem, min_version: TLS12, max_version: TLS13"
    )
    text = TLS % extra + f"basic_auth_users: {{ann: {HASHES['ann']}}}\n"
    text += "http_server_config: {headers: {X-Frame-Options: deny, X-Content-Type-Options: nosniff}}\n"
    path = tmp_path / "web.yml"
    path.write_text(text)
    read(path)
    command = [need_tool("promtool"), "check", "web-config", str(path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
