"""The days of one model: described once they are over, and again when late labels change them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from exporter.baseline import Baseline
from exporter.history import Day, describe, from_text, to_text
from exporter.profile.packed import add_to, empty
from exporter.settings import Model
from exporter.store import Store, Transaction

_AT_ONCE = 100  # changed days described in one run; the newest first, the others in the next runs
_EPOCH = date(1970, 1, 1).toordinal()


class Days:
    """What is known of each day, by version; `store` holds it."""

    def __init__(self, model: Model, store: Store, retention: float):
        self._model = model
        self._store = store
        self._retention = retention
        self._known: dict[str, dict[int, Day]] | None = None
        self._forgotten: int | None = None  # the day on which those that are too old were dropped last

    def refresh(self, baseline: Baseline, now: float) -> bool:
        """Describe the days before today that changed; return whether any did."""
        model = self._model
        today = self.number(now)
        with self._store.transaction() as tx:
            changed = tx.changed_days(model.name, today, _AT_ONCE)
            known = self._read(tx) if changed else {}
            for version, day in changed:
                vector = empty(baseline.bins.size)
                for bucket in tx.buckets(model.name, *bounds(day, model.timezone), "all"):
                    if bucket.version == version:
                        add_to(vector, bucket.counts)
                fresh = describe(model, baseline.bins, baseline.columns, vector)
                old = known.get(version, {}).get(day)
                whole = old is None or fresh.rows >= old.rows  # else its first buckets are gone: keep what is known
                tx.describe_day(model.name, version, day, to_text(fresh if whole or old is None else old))
            if today != self._forgotten:
                tx.forget_days(model.name, today - int(self._retention // 86_400))
        self._forgotten = today
        if changed:
            self._known = None
        return bool(changed)

    def number(self, moment: float) -> int:
        """Return the local day of a moment (Unix seconds), in days since 1970."""
        return datetime.fromtimestamp(moment, ZoneInfo(self._model.timezone)).toordinal() - _EPOCH

    def known(self) -> Mapping[str, Mapping[int, Day]]:
        """Return version -> day (days since 1970) -> what is known of it, in order."""
        if self._known is None:
            with self._store.transaction() as tx:
                self._known = self._read(tx)
        return self._known

    def _read(self, tx: Transaction) -> dict[str, dict[int, Day]]:
        found: dict[str, dict[int, Day]] = {}
        for version, day, text in tx.days(self._model.name):
            found.setdefault(version, {})[day] = from_text(text)
        return found


def bounds(day: int, zone: str) -> tuple[int, int]:
    """Return when a local day (days since 1970) starts and ends, in Unix seconds."""
    first = date(1970, 1, 1) + timedelta(days=day)
    start, end = (
        datetime.combine(one, time(), ZoneInfo(zone)).timestamp() for one in (first, first + timedelta(days=1))
    )
    return int(start), int(end)
