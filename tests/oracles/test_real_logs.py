"""What the logs are known for is told as what it is: decay without drift of the inputs, season, and outage.

The figures of `docs/statistics.md` ("On real logs") are by day (`python -m bench.real_logs`); here it is by week.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from exporter.catalogue import FAMILIES
from exporter.drift.sequential import Series, learn, run
from exporter.evaluate.estimation import estimation
from exporter.evaluate.views import View
from exporter.profile.counts import add_into
from exporter.reference import fit
from tests.oracles.conftest import DATA, WEEK, replay
from tests.unit.helpers.profiles import take

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


def of_week(replayed, family: str, metric: str | None = None) -> pd.Series:  # type: ignore[no-untyped-def]
    """Return a family's values of all rows by week, with all labels known."""
    found = {}
    for (week, as_of), (readings, _) in replayed.performance.items():
        for one in readings.get(family, []) if as_of == "all" else []:
            if metric is None or one.labels[-2:] == ("all", metric):
                found[week] = one.value
    return pd.Series(found).sort_index()


def test_flights_worst_calibrated_week_stands_out() -> None:
    """The week of 2013-04-22, of the sequester's furloughed controllers: by calibration error, log loss and Brier."""
    replayed = replay("flights")
    for family, metric in (
        ("model_calibration_error", None),
        ("model_performance_score", "log_loss"),
        ("model_performance_score", "brier"),
    ):
        values = of_week(replayed, family, metric)
        assert len(values) >= 30
        assert values.idxmax() == "2013-04-22"
        assert values.max() > values.median() + 4 * (values - values.median()).abs().median()
    assert of_week(replayed, "model_performance_degraded", "calibration_error")["2013-04-22"] == 1
    lower = of_week(replayed, "model_performance_score_lower", "calibration_error")
    upper = of_week(replayed, "model_performance_score_upper", "calibration_error")
    assert lower["2013-04-22"] > upper.drop("2013-04-22").median()


def test_retail_calibration_drifts_while_the_order_stays() -> None:
    """Probabilities are too high nearly all the time, ROC AUC is what it was: the one is degraded, the other is not."""
    replayed = replay("retail")
    calibration = of_week(replayed, "model_performance_degraded", "calibration_error")
    area = of_week(replayed, "model_performance_degraded", "roc_auc")
    assert len(area) >= 50  # in the newest weeks every known label is 1: no area
    calibration = calibration[area.index]
    assert calibration.mean() > 0.5
    assert area.mean() < 0.1
    base = {one.labels[-1]: one.value for one in next(iter(replayed.weeks.values())).readings[BASELINE]}
    assert abs(of_week(replayed, "model_performance_score", "roc_auc").mean() - base["roc_auc"]) < 0.03


BASELINE = "model_performance_score_baseline"


def test_bikes_estimate_stays_where_the_error_grows() -> None:
    """What grew is not in the features, so the estimate cannot know it, and how far it is off is what tells it."""
    replayed = replay("bikes")
    changed = replayed.model.performance.model_copy(update={"estimate": True})
    model = replayed.model.model_copy(update={"performance": changed})
    baseline = fit(model, pq.read_table(DATA / "bikes" / "reference.parquet"))
    labels = pq.read_table(DATA / "bikes" / "labels.parquet")
    log = pq.read_table(DATA / "bikes" / "predictions.parquet").join(labels, "request_id").sort_by("timestamp")
    start, least = replayed.weeks["2014-08-04"].start, baseline.bins
    moment = pc.cast(log["timestamp"], pa.int64()).to_numpy() // 10**6
    week = log.filter(pa.array((moment >= start) & (moment < start + WEEK)))
    vector = np.zeros(least.size, np.int64)
    add_into(vector, take(model, baseline, week))
    view = View("1", "7d", start, start + WEEK, vector)
    found = estimation(model, baseline, [view]).readings
    (error,) = (one.value for one in found["model_performance_estimate_error"] if one.labels[-1] == "mae")
    (mae,) = (one.value for one in found["model_performance_estimated_score"] if one.labels[-2] == "mae")
    realised = of_week(replayed, "model_performance_score", "mae")["2014-08-04"]
    assert 20 < mae < 45
    assert realised > 150
    assert error == pytest.approx(mae - realised)
