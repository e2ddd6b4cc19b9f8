"""Groups of rows that were ranked together: what new rows and labels change of what they count.

A group's rows and labels come in any order, so it is counted anew from all of its rows in the ledger, and what it
counted before is taken away. It counts in the bucket of its earliest row; in a segment with the rows that it has there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from exporter.baseline import Baseline
from exporter.buckets import Deltas, Where, by_bucket, merged
from exporter.profile.counts import Placed, negative
from exporter.profile.outcome import Outcomes
from exporter.profile.ranking import together
from exporter.rows import CategoryColumn, Ints
from exporter.store import Member, Transaction

Group = tuple[str, str]  # version, name


def counted(tx: Transaction, model: str, baseline: Baseline, names: Collection[str]) -> Deltas:
    """Return what the groups of these names count by what the ledger knows now.

    A group of which the retention has taken rows is left as it was counted.
    """
    members = tx.members(model, names) if names else []
    starts, oldest = _starts(members), _earliest(members)
    kept = [one for one in members if starts[_key(one)] == oldest[_key(one)]]
    return _count(baseline, kept) if kept else {}


def note_starts(tx: Transaction, model: str, names: Collection[str]) -> None:
    """Write down where each of the groups starts, as all of its rows are there."""
    members = tx.members(model, names) if names else []
    starts = _starts(members)
    tx.start_groups(model, {one.id: starts[_key(one)] for one in members if one.group_start != starts[_key(one)]})


def difference(after: Deltas, before: Deltas) -> Deltas:
    """Return what has changed."""
    apart = merged(after, {key: negative(counts) for key, counts in before.items()})
    return {key: counts for key, counts in apart.items() if counts}


def _key(member: Member) -> Group:
    return member.version, member.group_name


def _starts(members: list[Member]) -> Mapping[Group, int]:
    """Return the bucket in which each group has started, also where that row is not there any more."""
    found: dict[Group, int] = {}
    for one in members:
        found[_key(one)] = min(found.get(_key(one), one.group_start), one.group_start)
    return found


def _earliest(members: list[Member]) -> Mapping[Group, int]:
    found: dict[Group, int] = {}
    for one in members:
        found[_key(one)] = min(found.get(_key(one), one.bucket), one.bucket)
    return found


def _count(baseline: Baseline, members: list[Member]) -> Deltas:
    outputs = np.frombuffer(b"".join(one.output for one in members), "<f8").reshape(len(members), -1)
    slices = np.frombuffer(b"".join(one.slices for one in members), "<i2").reshape(len(members), -1).astype(np.int64)
    labels = np.array([np.nan if one.label is None else one.label for one in members])
    outcomes = Outcomes(outputs[:, 0], labels, outputs[:, 1:])
    moment = np.array([one.timestamp for one in members], np.int64)
    numbers: dict[Group, int] = {}
    group = np.array([numbers.setdefault(_key(one), len(numbers)) for one in members], np.int64)

    def placed(segments: Ints) -> list[Placed]:
        return baseline.bins.place_groups(together(group, segments), moment, outcomes)

    bucket = np.array([one.bucket for one in members], np.int64)
    codes = {name: code for code, name in enumerate(dict.fromkeys(one.version for one in members))}
    version = CategoryColumn(tuple(codes), np.array([codes[one.version] for one in members], np.int64))
    return by_bucket(baseline, placed, Where(version, bucket, slices, np.arange(len(members))))
