"""What the logs are known for is told as what it is: decay without drift of the inputs, season, and outage.

The figures of `docs/statistics.md` ("On real logs") are by day (`python -m bench.real_logs`); here it is by week.
"""

from __future__ import annotations

import pandas as pd
import pyarrow.parquet as pq
import pytest

from exporter.catalogue import FAMILIES
from exporter.drift.sequential import Series, learn, run
from tests.oracles.conftest import DATA, replay

STOPPED = {"temp", "humid", "precip", "visib", "wind_speed"}  # on the evening of 2013-12-30
OUTAGE = "2013-12-30"


def table(replayed, family: str) -> pd.DataFrame:  # type: ignore[no-untyped-def]
    """Return a family's readings of all weeks: its labels, the week and the value."""
    names = FAMILIES[family].labels
    rows = [
        {**dict(zip(names, one.labels, strict=True)), "week": week, "value": one.value}
        for week, found in replayed.weeks.items()
        for one in found.readings.get(family, [])
    ]
    return pd.DataFrame(rows)


def daily_error(rows: pd.DataFrame) -> Series:
    """Return the mean absolute error by day."""
    error = (rows["prediction"] - rows["label"]).abs()
    days = error.groupby(rows["timestamp"].astype("int64") // (86_400 * 10**6)).agg(["mean", "count"])
    return Series(days.index.tolist(), days["mean"].tolist(), days["count"].tolist())


def test_bikes_controls_are_silent_while_the_error_grows() -> None:
    """Hours and weekdays do not change; a verdict on hours is there each week, so it is silence and not blindness."""
    replayed = replay("bikes")
    detected = table(replayed, "model_feature_drift_detected")
    hour = detected[detected["feature"] == "hour"]
    assert len(hour) == len(replayed.weeks) == 156
    controls = detected[detected["feature"].isin(["hour", "day_of_week"])]
    assert controls["value"].sum() == 0
    moving = table(replayed, "model_feature_moving_drift_detected")
    assert moving[moving["feature"].isin(["hour", "day_of_week"])]["value"].sum() == 0
    assert (moving["feature"] == "hour").sum() >= 154
    mae = table(replayed, "model_performance_score").query("metric == 'mae'").set_index("week")["value"]
    reference = table(replayed, "model_performance_score_baseline").query("metric == 'mae'")["value"].iloc[0]
    assert reference < 28
    assert mae.min() > reference
    assert mae[mae.index >= "2014-04"][:26].mean() > 5 * reference


@pytest.mark.parametrize("method", ["page_hinkley", "ewma"])
def test_bikes_error_is_told_within_a_week(method: str) -> None:
    """The mean absolute error of the days alarms in the first week of production; ewma stays on to the end."""
    replayed = replay("bikes")
    labels = pq.read_table(DATA / "bikes" / "labels.parquet").to_pandas()
    known, log = daily_error(replayed.reference), daily_error(replayed.frame.merge(labels, on="request_id"))
    learned = learn(method, known, 1 / 300, rise=True)
    assert learned is not None
    first = Series(*(part[:7] for part in log))
    assert run(learned, first).detected
    if method == "ewma":
        assert run(learned, log).since == run(learned, first).since


def test_flights_outage_is_missing_values_of_all_that_the_feed_carries() -> None:
    """Above their bounds in the outage's week, what is not of that feed is not; else only 3.3 % in August."""
    replayed = replay("flights")
    keys = ["week", "feature"]
    share = table(replayed, "model_feature_missing_ratio").set_index(keys)["value"]
    bound = table(replayed, "model_feature_missing_threshold_ratio").set_index(keys)["value"]
    over = (share.reindex(bound.index) > bound).reset_index().query("value")
    assert set(over["feature"][over["week"] == OUTAGE]) == STOPPED
    assert set(over["week"][over["feature"].isin(STOPPED)]) <= {"2013-08-19", OUTAGE}
    assert share[OUTAGE].loc[sorted(STOPPED)].between(0.48, 0.5).all()


def test_flights_season_is_drift_from_the_winter_with_nothing_missing() -> None:
    """Temperature leaves the winter in late spring and is back in November; how far, is the calibration's business."""
    temp = table(replay("flights"), "model_feature_drift_detected").query("feature == 'temp'")
    temp = temp.set_index("week")["value"]
    assert temp["2013-06":"2013-09"].mean() > 0.6
    assert not temp["2013-04-01":"2013-04-22"].any()
    assert not temp["2013-11-18":"2013-12-23"].any()


def test_bikes_seasons_are_silent_against_the_week_before() -> None:
    """Three years of seasons, judged each week: no jump."""
    moving = table(replay("bikes"), "model_feature_moving_drift_detected")
    for feature in ("tmin", "tmax"):
        own = moving[moving["feature"] == feature]
        assert len(own) >= 154
        assert own["value"].sum() == 0
