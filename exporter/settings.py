"""The shape of the configuration: frozen settings, each with its default and its rule.

The shape is the public contract (`docs/configuration.md`). What sections must agree on is in `consistency`.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from exporter.business.settings import Kpi
from exporter.drift.settings import Drift, Rate
from exporter.fields import Levels, Ratio, Seconds, Settings, Severity, Wait, WholeSeconds, Zone, level, whole_seconds
from exporter.performance import ranking
from exporter.performance.metrics import LOWER_IS_BETTER, METRICS
from exporter.retrain.settings import Retrain
from exporter.rows import canonical
from exporter.sources.settings import Source

Task = Literal["binary", "multiclass", "regression"]


class Window(Settings):
    """A length of event time, named as the user wrote it."""

    name: str
    seconds: int


def _window(value: object) -> object:
    return {"name": value, "seconds": whole_seconds(value)} if not isinstance(value, Window) else value


class Retention(Settings):
    profiles: Seconds = 90 * 86400.0
    results: Seconds = 400 * 86400.0


class Store(Settings):
    url: str = "sqlite:///model-exporter.db"
    url_file: str | None = None
    lease: Annotated[Seconds, Field(ge=3)] = 15.0
    retention: Retention = Retention()

    @model_validator(mode="after")
    def _one(self) -> Store:
        if self.url_file is not None and "url" in self.model_fields_set:
            raise ValueError("give either url or url_file")
        return self


def _five_fields(line: str) -> str:
    if len(line.split()) != 5:
        raise ValueError(f"{line!r} is no cron line: write five fields, as in '*/5 * * * *'")
    return line


class Schedule(Settings):
    """How often a model runs, every so many seconds or by a cron line in UTC, and how long it reads at a time."""

    every: Seconds | None = None
    cron: Annotated[str, AfterValidator(_five_fields)] | None = None
    timeout: Seconds | None = None

    @model_validator(mode="after")
    def _one(self) -> Schedule:
        if (self.every is None) == (self.cron is None):
            raise ValueError("give either every, as in 5m, or cron, as in '*/5 * * * *'")
        return self


class Feature(Settings):
    """A feature; `windows` names those in which its drift is judged (a day has one weekday: judge it by the week).

    What is said of a text or an embedding holds for each number that is derived from it.
    """

    type: Literal["numeric", "categorical", "text", "embedding"] | None = None
    importance: float | None = Field(default=None, ge=0)
    windows: tuple[str, ...] | None = None


def _feature(value: object) -> object:
    return {"type": value} if isinstance(value, str) else ({} if value is None else value)


OneFeature = Annotated[Feature, BeforeValidator(_feature)]


def _features(value: object) -> object:
    return dict.fromkeys(value) if isinstance(value, list) and all(isinstance(v, str) for v in value) else value


def _score(value: object) -> object:
    if isinstance(value, dict):
        return {canonical(name): column for name, column in value.items()}
    if value is not None and not isinstance(value, str):
        raise ValueError(f"a column, or {{class: column}} for a multiclass model, is expected, not {value!r}")
    return value


def _class_name(value: object) -> object:
    return canonical(value) if isinstance(value, bool | int | float) else value


class Latency(Settings):
    column: str
    unit: Literal["s", "ms", "us"] = "s"


class Columns(Settings):
    """Which column plays which part; `features` left out means every other column of the reference.

    outcomes: columns that become known with the label, where it stands. group: rows with one value of it were ranked
    together, as the answers to one query are. weight: how much a row counts in performance.
    """

    timestamp: str
    prediction: str
    id: str | None = None
    score: Annotated[str | dict[str, str] | None, BeforeValidator(_score)] = None
    positive_class: Annotated[str, BeforeValidator(_class_name)] = "1"
    label: str | None = None
    label_timestamp: str | None = None
    latency: Latency | None = None
    error: str | None = None
    outcomes: tuple[str, ...] = ()
    group: str | None = None
    weight: str | None = None
    segments: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    features: Annotated[dict[str, OneFeature] | None, BeforeValidator(_features)] = None
    timezone: Zone = "UTC"


def _calibrated(value: object) -> object:
    """Read `true`, a budget for warnings, or a budget a severity."""
    if value is False:
        return None
    return {"warning": "1 per 30d" if value is True else value} if isinstance(value, bool | str) else value


class Limit(Settings):
    """Bounds of one performance metric: absolute, a worst change from the baseline, or one that the reference teaches.

    calibrated: severity -> alarms a second that its own days would give.
    """

    min: Annotated[Levels | None, level("critical")] = None
    max: Annotated[Levels | None, level("critical")] = None
    drop: Annotated[Levels | None, level("warning")] = None
    calibrated: Annotated[dict[Severity, Rate] | None, BeforeValidator(_calibrated)] = None


def _entry_point(text: str) -> str:
    module, _, name = text.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), name)):
        raise ValueError(f"{text!r} is no entry point: write module:function")
    return text


class Custom(Settings):
    """A metric of one's own: `module:function`, called with what is counted of the labelled rows."""

    function: Annotated[str, AfterValidator(_entry_point)]
    better: Literal["higher", "lower"] = "higher"


class Performance(Settings):
    metrics: tuple[str, ...] | None = None
    custom: dict[str, Custom] = Field(default_factory=dict)
    estimate: bool = False
    threshold: dict[str, Limit] = Field(default_factory=dict)
    min_rows: int = Field(default=200, ge=1)
    min_groups: int = Field(default=50, ge=1)


class Bound(Settings):
    """A largest accepted share: `max` as it stands, or `increase` above the reference's own share."""

    max: Ratio | None = None
    increase: Ratio | None = None

    @model_validator(mode="after")
    def _one(self) -> Bound:
        if (self.max is None) == (self.increase is None):
            raise ValueError("give either max, a share, or increase, above the reference's own share")
        return self


class Checks(Settings):
    """A feature's own bounds; those left out are the model's."""

    missing: Bound | None = None
    unseen: Bound | None = None
    out_of_range: Bound | None = None
    invalid: Bound | None = None


class Quality(Settings):
    missing: Bound = Bound(increase=0.05)
    unseen: Bound = Bound(max=0.01)
    out_of_range: Bound = Bound(increase=0.05)
    invalid: Bound = Bound(max=0.01)
    features: dict[str, Checks] = Field(default_factory=dict)

    def bound(self, feature: str, check: str) -> Bound:
        """Return the bound in force for one feature and check."""
        own: Bound | None = getattr(self.features.get(feature), check, None)
        default: Bound = getattr(self, check)
        return own or default


class Serving(Settings):
    """Quantiles of the latency that are shown, and bounds: `latency_p99` in seconds, `error_ratio`."""

    latency_quantiles: tuple[Ratio, ...] = (0.5, 0.95, 0.99)
    threshold: dict[str, Annotated[Levels, level("critical")]] = Field(default_factory=dict)

    @property
    def names(self) -> dict[str, float]:
        """The name of each quantile, as in `threshold`."""
        return {f"latency_p{100 * q:.6g}": q for q in self.latency_quantiles}


def _version(value: object) -> object:
    in_log = isinstance(value, dict) and list(value) == ["column"]
    if in_log or isinstance(value, str) or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    raise ValueError(f"a version, or {{column: its column in the log}}, is expected, not {value!r}")


class Model(Settings):
    """One monitored model."""

    name: str = Field(min_length=1)
    task: Task
    columns: Columns
    reference: Source
    predictions: Source
    labels: Source | None = None
    version: Annotated[str | dict[Literal["column"], str], BeforeValidator(_version)] = "1"
    framework: str = ""
    team: str = ""
    timezone: Zone = "UTC"
    schedule: Schedule = Schedule.model_validate({"every": "1m"})
    windows: tuple[Annotated[Window, BeforeValidator(_window)], ...] = Field(
        default=("24h", "7d"), min_length=1, validate_default=True
    )
    bucket: WholeSeconds | None = None
    lateness: Seconds | None = None
    label_delay: Wait | None = None
    label_coverage: Ratio | None = None
    data_delay: Seconds | None = None
    max_features: int = Field(default=100, ge=1)
    max_segments: int = Field(default=20, ge=1)
    drift: Drift = Drift()
    performance: Performance = Performance()
    quality: Quality = Quality()
    business: tuple[Kpi, ...] = ()
    serving: Serving = Serving()
    retrain: Retrain | None = None

    @property
    def bucket_seconds(self) -> int:
        """Length of the time buckets in which rows are counted, in whole seconds; divides each window."""
        if self.bucket is not None:
            return self.bucket
        whole = math.gcd(*(window.seconds for window in self.windows))
        wish = min(window.seconds for window in self.windows) / 24
        return next((step for step in _BUCKETS if step <= wish and whole % step == 0), whole)

    @property
    def serves(self) -> bool:
        """Whether there is anything to tell of serving that the configuration asks for."""
        return bool(self.columns.latency or self.columns.error or "serving" in self.model_fields_set)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics to show: as configured, else the task's default ones; and those with a threshold."""
        usual = tuple(name for name, one in METRICS[self.task].items() if one.default)
        usual += ranking.DEFAULT if self.columns.group is not None else ()
        return tuple(dict.fromkeys((*(self.performance.metrics or usual), *self.performance.threshold)))

    @property
    def ranked_metrics(self) -> tuple[str, ...]:
        """Those of the metrics that are of groups of rows."""
        return tuple(name for name in self.metrics if ranking.is_known(name)) if self.columns.group is not None else ()

    def lower_is_better(self, metric: str) -> bool:
        """Return whether a metric of the task, or one of the model's own, is a loss."""
        own = self.performance.custom.get(metric)
        return own.better == "lower" if own is not None else metric in LOWER_IS_BETTER

    @property
    def judges_rows(self) -> bool:
        """Whether whole rows are compared: by a method for all features, or because a feature is an embedding."""
        features = self.columns.features or {}
        return bool(self.drift.multivariate) or any(own.type == "embedding" for own in features.values())

    @property
    def data_delay_seconds(self) -> float:
        """Age of the newest row that counts as stale: as configured, else the shortest window."""
        return self.data_delay or float(min(window.seconds for window in self.windows))


_BUCKETS = (86400, 21600, 3600, 900, 300, 60, 10, 1)


class Config(Settings):
    """The whole configuration file, `defaults` already merged into each model."""

    models: tuple[Model, ...] = Field(min_length=1)
    store: Store = Store()
    series_limit: int = Field(default=50_000, ge=1)
    sinks: dict[str, Any] = Field(default_factory=dict)
