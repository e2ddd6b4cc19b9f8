"""Buckets that are counted anew where their rows are, and take the place of what was known of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import sqlalchemy as sa

from exporter.profile.coding import decode
from exporter.profile.counts import ZERO, Counts, add, negative
from exporter.store import rollup
from exporter.store.tables import BUCKET, POSITION, Key
from exporter.store.transaction import Transaction


def replace_buckets(
    tx: Transaction, model: str, starts: Iterable[int], packed: Mapping[Key, bytes]
) -> tuple[dict[Key, Counts], dict[Key, Counts]]:
    """Put packed counts in the place of all that is stored of the buckets; return what was there, and what is now."""
    old: dict[Key, Counts] = {}
    for start in starts:
        old |= {(own.version, own.segment, own.start): own.counts for own in tx.buckets(model, start, start + 1)}
        tx.connection.execute(sa.delete(BUCKET).where(BUCKET.c.model == model, BUCKET.c.start == start))
    rows = [
        {"model": model, "version": version, "segment": segment, "start": start, "counts": counts}
        for (version, segment, start), counts in packed.items()
    ]
    if rows:
        tx.connection.execute(sa.insert(BUCKET), rows)
    new = {key: decode(counts) for key, counts in packed.items()}
    rollup.change(tx.connection, tx.set_rollups, model, differences(old, new))
    return old, new


def differences(old: Mapping[Key, Counts], new: Mapping[Key, Counts]) -> dict[Key, Counts]:
    """Return what has to be added to the old counts to make the new ones."""
    found = {key: add(new.get(key, ZERO), negative(old.get(key, ZERO))) for key in {*old, *new}}
    return {key: counts for key, counts in found.items() if counts}


def forget_digests(tx: Transaction, model: str, source: str, before: int) -> None:
    """Drop what is known of a source's buckets that start before a time (seconds)."""
    own = (POSITION.c.model == model) & (POSITION.c.source == source) & (POSITION.c.path < digest_name(before))
    tx.connection.execute(sa.delete(POSITION).where(own))


def digest_name(start: int) -> str:
    """Return the name of a bucket's digest; names are ordered as times are."""
    return f"{start:012d}"
