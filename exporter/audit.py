"""The audit log as plain data: a chain of hashes, what changed in a configuration, forms of export. Pure."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

FIRST = "0" * 64  # what the first entry has for the hash of the one before
HIDDEN = "(hidden)"
_SECRET = ("secret", "token", "password", "headers", "authorization", "credentials", "api_key")
_ADDRESSES = frozenset({"url", "dsn", "tracking_uri", "body"})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Entry(NamedTuple):
    """One entry. at: microseconds. actor: who did it. detail: JSON. hash: of all other fields, `previous` included."""

    number: int
    at: int
    kind: str
    model: str
    actor: str
    detail: str
    previous: str
    hash: str = ""


def digest(entry: Entry) -> str:
    """Return the SHA-256 that an entry has to have."""
    return hashlib.sha256(json.dumps(entry[:-1], ensure_ascii=True, separators=(",", ":")).encode()).hexdigest()


def sealed(entry: Entry) -> Entry:
    """Return an entry with its hash."""
    return entry._replace(hash=digest(entry))


class Chain:
    """Checks entries one by one, in order; `broken` says what is wrong first, or nothing."""

    def __init__(self) -> None:
        self.count = 0
        self.last = FIRST
        self.broken = ""
        self._hashes: set[str] = set()

    def add(self, entry: Entry) -> None:
        """Take the next entry."""
        self.count += 1
        if not self.broken:
            if entry.number != self.count:
                self.broken = f"entry {self.count} is missing: the next one is {entry.number}"
            elif entry.hash != digest(entry):
                self.broken = f"entry {entry.number} was changed: its hash is not that of its content"
            elif entry.previous != self.last:
                self.broken = (
                    f"entry {entry.number} does not follow on the one before: an entry was put in or taken out"
                )
        self.last = entry.hash
        self._hashes.add(entry.hash)

    def end(self, number: int, last: str) -> None:
        """Compare with what the store had noted as its end before the first entry was read."""
        if not self.broken and number and (self.count < number or last not in self._hashes):
            self.broken = (
                f"the log ends at entry {self.count}, the store noted {number}: the last entries were taken away"
            )

    def wrong(self, expected: str | None = None) -> str:
        """Say what is wrong, or nothing. expected: a hash that was noted at some time before."""
        if not self.broken and expected is not None and expected not in self._hashes:
            return f"no entry has the hash {expected}: the log was written anew"
        return self.broken


def between(entries: Iterable[Entry], start: float | None, end: float | None) -> Iterator[Entry]:
    """Return the entries with start <= at < end, in Unix seconds."""
    for entry in entries:
        if (start is None or entry.at >= start * 1e6) and (end is None or entry.at < end * 1e6):
            yield entry


def flatten(value: Any, at: str = "", hidden: bool = False) -> Iterator[tuple[str, Any]]:
    """Return (dotted key, plain value) of nested settings; what may be a secret is hidden."""
    if isinstance(value, Mapping) and value:
        for key, own in value.items():
            yield from flatten(own, f"{at}.{key}" if at else str(key), hidden or _may_be_secret(str(key)))
    elif isinstance(value, list | tuple) and any(isinstance(own, Mapping) for own in value):
        for number, own in enumerate(value):
            named = own.get("name") if isinstance(own, Mapping) else None
            yield from flatten(own, f"{at}[{named or number}]", hidden)
    else:
        yield at, HIDDEN if hidden and value is not None else value


def _may_be_secret(key: str) -> bool:
    """Say so of addresses and bodies, too: a webhook's address often is the secret."""
    return key in _ADDRESSES or (not key.endswith("_file") and any(word in key.lower() for word in _SECRET))


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was added, removed and changed ([old, new]) between two flattened configurations."""
    return {
        "added": {key: new[key] for key in new if key not in old},
        "removed": {key: old[key] for key in old if key not in new},
        "changed": {key: [old[key], new[key]] for key in new if key in old and old[key] != new[key]},
    }


def moment(at: int) -> str:
    """Write microseconds as RFC 3339."""
    return (_EPOCH + timedelta(microseconds=at)).isoformat().replace("+00:00", "Z")


def json_lines(entries: Iterable[Entry]) -> Iterator[str]:
    """Write one JSON object an entry, `detail` as an object; `at_microseconds` is what is hashed."""
    for entry in entries:
        plain = entry._asdict() | {"at": moment(entry.at), "at_microseconds": entry.at}
        yield json.dumps(plain | {"detail": json.loads(entry.detail)}, ensure_ascii=False) + "\n"


def csv_lines(entries: Iterable[Entry]) -> Iterator[str]:
    """Write a header and one line an entry, `detail` as JSON."""
    yield _csv_line(Entry._fields)
    for entry in entries:
        yield _csv_line((entry.number, moment(entry.at), *entry[2:]))


def _csv_line(values: Iterable[object]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow([_no_formula(value) for value in values])
    return line.getvalue()


def _no_formula(value: object) -> object:
    """Keep a spreadsheet from computing what somebody else wrote."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
