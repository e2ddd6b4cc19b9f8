"""The reference's days are whole, whatever the hour at which its rows lie."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter import check
from exporter.baseline import Baseline, dump, restore
from exporter.collector import Board
from exporter.monitor import Monitor
from exporter.reference import fit
from exporter.reference_days import cut
from exporter.rows import NO_TIME, SECOND, Ints, local_days
from exporter.segments import ALL
from exporter.settings import Model
from exporter.store import Store
from tests.unit.test_calibration import DAY, START, files_in, rows
from tests.unit.test_calibration import model as small

HOUR = 3_600 * SECOND
FLIGHTS = Path(__file__).parents[2] / "examples" / "flights" / "reference.parquet"
COLUMNS = ["timestamp", "prediction", "prediction_proba", "distance", "origin"]
LEARNED = {("reference", "24h"), ("reference", "7d"), ("previous", "24h"), ("previous", "7d"), ("week_ago", "24h")}


def flights() -> Model:
    """The example, with two features, one method for each kind, and few knots."""
    return Model.model_validate(
        {
            "name": "m",
            "task": "binary",
            "timezone": "America/New_York",
            "columns": {
                "timestamp": "timestamp",
                "prediction": "prediction",
                "score": "prediction_proba",
                "positive_class": 1,
            },
            "windows": ["24h", "7d"],
            "drift": {
                "baselines": ["reference", "previous", "week_ago"],
                "numeric": ["ks"],
                "categorical": ["psi"],
                "knots": 64,
            },
            "reference": {"files": "r"},
            "predictions": {"files": "p"},
        }
    )


@cache
def learned(minutes: int) -> Baseline:
    """The example's baseline with its rows so much later."""
    table = pq.read_table(FLIGHTS, columns=COLUMNS)
    later = pc.add(table["timestamp"], pa.scalar(minutes * 60 * SECOND, pa.duration("us")))
    return fit(flights(), table.set_column(table.column_names.index("timestamp"), "timestamp", later))


@pytest.mark.parametrize("hour", range(24))
def test_the_example_teaches_the_same_at_each_hour(hour: int) -> None:
    """It has every second day: cut in the midst of one, both parts had too few rows to learn anything by the day."""
    usual, moved = ({(key[1], w): one for key, own in made.learned.items() for w, one in own.items()}
                    for made in (learned(0), learned(hour * 60 + hour * 7 % 60)))  # fmt: skip
    assert usual.keys() == moved.keys() == LEARNED
    for key, one in moved.items():
        assert one.units == usual[key].units == 44
        assert one.nulls.keys() == usual[key].nulls.keys()
        assert one.heights["warning"] == pytest.approx(usual[key].heights["warning"], rel=0.1)
        for name, null in one.nulls.items():
            assert null.center == pytest.approx(usual[key].nulls[name].center, rel=0.1)
            assert null.spread == pytest.approx(usual[key].nulls[name].spread, rel=0.25)


def busy(seed: int, days: int, every: int, length: int, begins: int) -> Ints:
    """Return times of about 200 rows a day: within `length` hours from an hour on, every few days."""
    random = np.random.default_rng(seed)
    day = np.repeat(np.arange(0, days, every), random.integers(180, 220, len(range(0, days, every))))
    found: Ints = START * SECOND + (day * 24 + begins) * HOUR + random.integers(length * HOUR, size=len(day))
    return found


@given(st.integers(0, 99), st.integers(2, 3), st.integers(1, 18), st.integers(0, 23))
def test_what_lies_together_is_in_one_day(seed: int, every: int, length: int, begins: int) -> None:
    """Every second or third day, in a time zone that nobody gave: at most a shred lies elsewhere."""
    at = busy(seed, 40, every, length, begins)
    found = cut(at, "UTC")
    assert -11 <= found.begins <= 12
    batch = (at - (START * SECOND + begins * HOUR)) // (24 * HOUR)
    most = sum(np.unique(found.number[batch == one], return_counts=True)[1].max() for one in np.unique(batch))
    assert most >= 0.97 * len(at)
    if begins + length <= 24:
        assert found.begins == 0


@given(st.integers(0, 99), st.sampled_from(["UTC", "Asia/Kolkata", "America/New_York"]), st.integers(0, 23))
def test_a_log_without_gaps_has_the_calendars_days(seed: int, zone: str, begins: int) -> None:
    """Wherever it begins, with quiet nights, and over a change of the clock."""
    at = busy(seed, 40, 1, 24, begins)
    night = (at // HOUR % 24 < 6) & (np.random.default_rng(seed).random(len(at)) < 0.8)
    at = np.append(at[~night], NO_TIME)
    found = cut(at, zone)
    assert found.begins == 0
    assert found.number.tolist() == [*local_days(at[:-1], np.ones(len(at) - 1, np.bool_), zone), NO_TIME]


def test_days_keep_their_hour_when_the_clock_changes() -> None:
    """New York, 3 November 2013: what is from 22:30 to 01:30 every second night is one day, before and after."""
    zone = ZoneInfo("America/New_York")
    nights = [datetime(2013, 10, 9 + 2 * n, 22, 30, tzinfo=zone) for n in range(12)]
    nights += [datetime(2013, 11, 2 + 2 * n, 22, 30, tzinfo=zone) for n in range(12)]
    starts = np.array([int(one.astimezone(UTC).timestamp()) for one in nights]) * SECOND
    at = (starts[:, None] + np.arange(0, 3 * HOUR, HOUR // 20)).ravel()
    found = cut(at, "America/New_York")
    assert found.begins == -2
    assert (found.number.reshape(24, -1) == found.number.reshape(24, -1)[:, :1]).all()
    assert len(np.unique(found.number)) == 24


def test_no_times_are_no_days() -> None:
    found = cut(np.full(3, NO_TIME), "UTC")
    assert (found.begins, found.number.tolist()) == (0, [NO_TIME] * 3)


def nightly(folder: Path, baselines: list[str], days: int) -> Model:
    """A model used every second night from 22:00 to 02:00; one night follows its reference."""
    for name, number in (("r", days), ("p", 1)):
        table = rows(1, number)
        times = np.asarray(table["t"])
        night = (times - START) // DAY * 2 * DAY + times % DAY // 6
        moved = START + 22 * 3600 + night + (2 * days * DAY if name == "p" else 0)
        pq.write_table(
            table.set_column(table.column_names.index("t"), "t", pa.array(moved)), folder / f"{name}.parquet"
        )
    return small({"baselines": baselines}, **files_in(folder))


def test_check_and_log_say_where_days_begin_and_what_is_not_learned(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = nightly(tmp_path, ["reference", "previous", "week_ago"], 20)
    told = [line.strip() for line in check.show(check.check(own)[0])]
    few = "the reference has too few days with enough rows to learn thresholds: it is not compared"
    cut_at = "the reference's days are cut at 22:00 UTC: midnight would tear them (timezone?)"
    for line in (
        "window 24h: thresholds learned from 20 days of the reference",
        "window 24h against previous: thresholds learned from 20 days of the reference",
        f"window 24h against week_ago: {few}",
        f"window 7d against previous: {few}",
        cut_at,
    ):
        assert told.count(line) == 1
    assert not any("7d against week_ago" in line for line in told)
    monitor = Monitor(own, Store("sqlite:///:memory:"), Board(), 3650.0 * DAY, 60.0)
    with caplog.at_level("INFO"):
        assert monitor.run(float(START + 42 * DAY))
    said = [(one.levelname, one.getMessage()) for one in caplog.records]
    assert said.count(("WARNING", f"model m: {cut_at}")) == 1
    assert said.count(("INFO", f"model m: window 7d against previous: {few}")) == 1
    made = monitor.baseline
    assert made is not None
    assert made.day_begins == -2
    assert restore(*dump(made)).day_begins == -2
    assert (ALL, "previous") in made.learned


def test_midnight_is_not_worth_a_word(tmp_path: Path) -> None:
    pq.write_table(rows(1, 20), tmp_path / "r.parquet")
    pq.write_table(rows(2, 1), tmp_path / "p.parquet")
    assert not any("cut at" in line for line in check.show(check.check(small(**files_in(tmp_path)))[0]))
