"""What was counted and placed of rows, by version, segment and bucket."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from exporter.baseline import Baseline
from exporter.profile.counts import Counts, Placed, add, gather
from exporter.profile.labelled import Labelled
from exporter.profile.model import Batch
from exporter.profile.tally import Cut, cut, groups_of
from exporter.rows import CategoryColumn, Ints
from exporter.segments import ALL
from exporter.store.tables import Key

Deltas = dict[Key, Counts]


def merged(first: Mapping[Key, Counts], second: Mapping[Key, Counts]) -> Deltas:
    """Add two sets of deltas."""
    total = dict(first)
    for key, counts in second.items():
        total[key] = add(total[key], counts) if key in total else counts
    return total


class Where(NamedTuple):
    """Where rows belong: version and bucket of each, its segments (rows x columns), and the rows in question."""

    version: CategoryColumn
    bucket: Ints
    slices: Ints
    rows: Ints


def counted(baseline: Baseline, batch: Batch, where: Where, labelled: Labelled | None) -> Deltas:
    """Count rows by version, segment and bucket; a row counts in the whole and in each of its segments."""
    keys, cuts = zip(*(keys_of(where, segments) for segments in _segments(where)), strict=True)
    found = baseline.bins.count_rows(batch, cuts, labelled=labelled)
    return _by_name(
        baseline, [pair for own, one in zip(keys, found, strict=True) for pair in zip(own, one, strict=True)]
    )


def by_bucket(baseline: Baseline, placed: Callable[[Ints], list[Placed]], where: Where) -> Deltas:
    """Add up what is placed, as `counted`; placed: what is placed of rows cut into segments (one number a row)."""
    found: list[tuple[tuple[str, int, int], Counts]] = []
    for segments in _segments(where):
        keys, own = keys_of(where, segments)
        group = groups_of(own, len(where.bucket))
        found += zip(keys, gather(placed(segments), group, len(keys), baseline.bins.size), strict=True)
    return _by_name(baseline, found)


def _segments(where: Where) -> list[Ints]:
    return [np.broadcast_to(np.int64(-1), len(where.bucket)), *where.slices.T]


def _by_name(baseline: Baseline, found: list[tuple[tuple[str, int, int], Counts]]) -> Deltas:
    names = baseline.segments.names
    return {
        (version, ALL if segment < 0 else names[segment], start): counts
        for (version, segment, start), counts in found
        if counts
    }


def keys_of(where: Where, segments: Ints) -> tuple[list[tuple[str, int, int]], Cut]:
    """Return the (version, segment, bucket) of the rows in question, and these rows by them."""
    kept = np.zeros(len(where.bucket), np.bool_)
    kept[where.rows] = True
    first = int(where.bucket[where.rows].min(initial=np.iinfo(np.int64).max))
    wide = int(segments.max(initial=-1)) + 2
    many = len(where.version.names) * wide
    keys, own = cut((where.bucket - first) * many + where.version.codes * wide + segments + 1, kept)
    starts, rest = np.divmod(keys, many)
    named = zip((rest // wide).tolist(), (rest % wide - 1).tolist(), (starts + first).tolist(), strict=True)
    return [(where.version.names[version], segment, start) for version, segment, start in named], own
