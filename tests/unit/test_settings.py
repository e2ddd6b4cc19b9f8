"""What follows from settings that are read: buckets, bounds, conflicts between sections."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from exporter.consistency import conflicts
from exporter.duration import show
from exporter.fields import Levels, nearest
from exporter.settings import Bound, Limit, Model, Quality, Schedule

LEAST: dict[str, Any] = {
    "name": "a",
    "task": "binary",
    "columns": {"timestamp": "t", "prediction": "p"},
    "reference": {"files": "r.parquet"},
    "predictions": {"files": "p.parquet"},
}


def model(**more: Any) -> Model:
    return Model.model_validate(LEAST | more)


@pytest.mark.parametrize(
    ("windows", "bucket"),
    [
        (["24h", "7d"], 3600),
        (["1h"], 60),
        (["1h", "24h"], 60),
        (["5m"], 10),
        (["10s"], 10),
        (["30d"], 86400),
        (["90m", "24h"], 60),
        (["1h", "25h1s"], 1),
        (["7s"], 7),
    ],
)
def test_bucket_fits_every_window(windows: list[str], bucket: int) -> None:
    """The largest round step that is at most a 24th of the shortest window and divides each."""
    assert model(windows=windows).bucket_seconds == bucket


@given(st.lists(st.integers(1, 400 * 86400), min_size=1, max_size=4, unique=True))
def test_own_bucket_never_conflicts(seconds: list[int]) -> None:
    """Whatever the windows are, the bucket that follows from them divides each."""
    made = model(windows=[show(one) for one in seconds])
    assert all(window.seconds % made.bucket_seconds == 0 for window in made.windows)
    assert conflicts(made) == []


def test_configured_bucket_stands() -> None:
    """Also where it does not fit: that is told as a conflict."""
    assert model(bucket="5m").bucket_seconds == 300
    made = model(bucket="7m")
    assert [conflict.place for conflict in conflicts(made)] == [("windows", 0)]  # a week is 1440 times 7 minutes


def test_data_is_stale_after_the_shortest_window() -> None:
    """Unless the configuration says so."""
    assert model(windows=["7d", "24h"]).data_delay_seconds == 86400
    assert model(windows=["7d", "24h"], data_delay="6h").data_delay_seconds == 21600


def test_settings_are_frozen_and_closed() -> None:
    """No key is taken that means nothing, and nothing changes after it was read."""
    with pytest.raises(ValidationError):
        model(colour="red")
    with pytest.raises(ValidationError):
        model().name = "b"  # type: ignore[misc]


def test_levels_say_only_what_is_set() -> None:
    """0 is a threshold; nothing is none."""
    assert Levels().items() == []
    assert Levels(warning=0.0, critical=2).items() == [("warning", 0.0), ("critical", 2.0)]


def test_limits_of_one_number() -> None:
    """An absolute bound is critical, a relative one a warning."""
    limit = Limit.model_validate({"min": 0.7, "max": 1, "drop": 0.05})
    assert limit.min is not None
    assert limit.max is not None
    assert limit.drop is not None
    assert [one.items() for one in (limit.min, limit.max, limit.drop)] == [
        [("critical", 0.7)],
        [("critical", 1.0)],
        [("warning", 0.05)],
    ]


@pytest.mark.parametrize("plain", [{}, {"max": 0.1, "increase": 0.1}])
def test_a_bound_is_one_of_two(plain: dict[str, float]) -> None:
    """A share, or one above the reference's."""
    with pytest.raises(ValidationError, match="either max"):
        Bound.model_validate(plain)


def test_own_bound_of_a_feature() -> None:
    """The feature's own where it has one, else the model's."""
    quality = Quality.model_validate({"unseen": {"max": 0.2}, "features": {"x": {"missing": {"max": 1}}}})
    assert quality.bound("x", "missing").max == 1
    assert quality.bound("y", "missing").increase == 0.05
    assert quality.bound("x", "unseen").max == 0.2


@pytest.mark.parametrize("plain", [{}, {"every": "1m", "cron": "* * * * *"}, {"cron": "* * *"}, {"every": "0s"}])
def test_a_schedule_is_one_of_two(plain: dict[str, str]) -> None:
    """An interval or a cron line of five fields."""
    with pytest.raises(ValidationError):
        Schedule.model_validate(plain)


@pytest.mark.parametrize(
    ("given_name", "said"),
    [("psii", "; did you mean psi?"), ("zzz", "; known are ks, psi"), ("", "; known are ks, psi")],
)
def test_nearest_known_name(given_name: str, said: str) -> None:
    """The one that was meant, or all of them in order."""
    assert nearest(given_name, ["psi", "ks"]) == said
    assert nearest(given_name, []) == ""


@pytest.mark.parametrize(
    ("more", "places"),
    [
        ({}, []),
        ({"labels": {"files": "l"}}, [("columns", "id"), ("columns", "label")]),
        ({"performance": {"metrics": ["mae"]}}, [("performance", "metrics", 0)]),
        ({"performance": {"threshold": {"brier": {"min": 1}}}}, [("performance", "threshold", "brier", "min")]),
        ({"performance": {"threshold": {"f1": {"max": 1}}}}, [("performance", "threshold", "f1", "max")]),
        ({"task": "regression", "performance": {"threshold": {"mean_error": {"min": -1, "max": 1}}}}, []),
        ({"task": "regression", "performance": {"threshold": {"rmse": {"drop": 1}, "r2": {"drop": 1}}}}, []),
        ({"windows": ["1h", "1h"]}, [("windows", 1)]),
        (
            {"columns": {"timestamp": "t", "prediction": "p", "features": {"x": {"windows": ["3d"]}}}},
            [("columns", "features", "x", "windows", 0)],
        ),
    ],
)
def test_conflicts_name_the_place_to_change(more: dict[str, Any], places: list[tuple[str | int, ...]]) -> None:
    """What two sections say that cannot both hold."""
    assert [conflict.place for conflict in conflicts(model(**more))] == places
