"""Secrets of an action: given as they are, or read from their files when they are used."""

from __future__ import annotations

from pathlib import Path

from exporter.retrain.settings import Action, header_lines, web_address


class SecretError(Exception):
    """A file with a secret that cannot be used; one sentence."""


def read_secret(folder: Path, name: str) -> str:
    """Read a file with a secret, without the line's end; raise SecretError."""
    try:
        text = (folder / name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise SecretError(f"{name} cannot be read: {reason}") from error
    if not text.strip():
        raise SecretError(f"{name} is empty")
    return text.strip("\r\n")


def secret_of(action: Action | None, folder: Path) -> bytes | None:
    """Return what calls and callbacks are signed with; None where nothing is configured."""
    http = action.http if action is not None else None
    if http is None:
        return None
    text = read_secret(folder, http.secret_file) if http.secret_file is not None else http.secret
    return None if text is None else text.encode()


def unusable(action: Action, folder: Path) -> list[tuple[tuple[str, ...], str]]:
    """Find the files of an action that cannot be used: (place in the action, sentence)."""
    http = action.http
    found: list[tuple[tuple[str, ...], str]] = []
    if http is None:
        return found
    for key in ("url_file", "headers_file", "secret_file", "ca_file"):
        name = getattr(http, key)
        try:
            text = read_secret(folder, name) if name is not None else ""
            if key == "headers_file":
                header_lines(text)
            elif key == "url_file" and name is not None:
                web_address(text.strip())
        except SecretError as error:
            found.append((("http", key), str(error)))
        except ValueError as error:
            found.append((("http", key), f"{name}: {error}"))
    return found
