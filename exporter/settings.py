"""The shape of the configuration: frozen settings, each with its default and its rule.

The shape is the public contract (`docs/configuration.md`). Sections that this version reads but does not act
on are listed in `not_computed`, so that nobody takes their silence for health.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from exporter import duration
from exporter.drift.univariate import CATEGORICAL, NUMERIC
from exporter.performance.metrics import LOWER_IS_BETTER, METRICS

Task = Literal["binary", "multiclass", "regression"]
Severity = Literal["warning", "critical"]
Ratio = Annotated[float, Field(ge=0, le=1)]


def _seconds(value: object) -> float:
    seconds = duration.parse(value)
    if seconds <= 0:
        raise ValueError("a duration must be longer than 0")
    return seconds


Seconds = Annotated[float, BeforeValidator(_seconds)]


class Settings(BaseModel):
    """A frozen section in which unknown keys are mistakes."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)


class Window(Settings):
    """A length of event time, named as the user wrote it."""

    name: str
    seconds: int


def _window(value: object) -> object:
    return {"name": value, "seconds": int(_seconds(value))} if not isinstance(value, Window) else value


class Retention(Settings):
    profiles: Seconds = 90 * 86400.0
    results: Seconds = 400 * 86400.0


class Store(Settings):
    url: str = "sqlite:///model-exporter.db"
    url_file: str | None = None
    retention: Retention = Retention()


class Schedule(Settings):
    every: Seconds | None = None
    cron: str | None = None

    @model_validator(mode="after")
    def _one(self) -> Schedule:
        if (self.every is None) == (self.cron is None):
            raise ValueError("give either every: 5m or cron: '*/5 * * * *'")
        return self


class Feature(Settings):
    """A feature; `windows` names those in which its drift is judged (a day has one weekday: judge it by the week)."""

    type: Literal["numeric", "categorical"] | None = None
    importance: float | None = Field(default=None, ge=0)
    windows: tuple[str, ...] | None = None


def _feature(value: object) -> object:
    return {"type": value} if isinstance(value, str) else (value or {})


def _features(value: object) -> object:
    return dict.fromkeys(value) if isinstance(value, list) else value


class Latency(Settings):
    column: str
    unit: Literal["s", "ms", "us"] = "s"


class Columns(Settings):
    """Which column plays which part; `features` left out means every other column of the reference."""

    timestamp: str
    prediction: str
    id: str | None = None
    score: str | dict[str, str] | None = None
    positive_class: str = "1"
    label: str | None = None
    label_timestamp: str | None = None
    latency: Latency | None = None
    error: str | None = None
    segments: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    features: Annotated[dict[str, Annotated[Feature, BeforeValidator(_feature)]] | None, BeforeValidator(_features)] = (
        None
    )
    timezone: str = "UTC"

    @field_validator("timezone")
    @classmethod
    def _zone(cls, name: str) -> str:
        return _known_zone(name)


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"unknown time zone {name!r}: use a name like Europe/Berlin") from error
    return name


class Source(Settings):
    """Where rows come from; one key."""

    files: Annotated[tuple[str, ...], BeforeValidator(lambda v: (v,) if isinstance(v, str) else v)]

    @model_validator(mode="before")
    @classmethod
    def _only_files(cls, value: Any) -> Any:
        later = sorted({"sql", "push", "spark", "mlflow"} & set(value)) if isinstance(value, dict) else []
        if later:
            raise ValueError(f"source {later[0]} is not in this version: use files")
        return value


class Levels(Settings):
    """A threshold per severity; a severity that is left out never alerts."""

    warning: float | None = None
    critical: float | None = None

    def items(self) -> list[tuple[str, float]]:
        """Return the (severity, threshold) pairs that are set."""
        pairs = (("warning", self.warning), ("critical", self.critical))
        return [(severity, value) for severity, value in pairs if value is not None]


class Drift(Settings):
    numeric: tuple[str, ...] = ("ks", "wasserstein", "psi", "jensen_shannon")
    categorical: tuple[str, ...] = ("chi2", "psi", "jensen_shannon", "l_infinity")
    multivariate: tuple[str, ...] = ()
    sequential: tuple[str, ...] = ()
    threshold: dict[str, Levels] = Field(default_factory=dict)
    drifted_features: Levels = Levels(warning=0.5)
    min_rows: int = Field(default=200, ge=1)
    knots: int = Field(default=4096, ge=16, le=1_000_000)

    @field_validator("threshold", mode="before")
    @classmethod
    def _no_budget(cls, value: Any) -> Any:
        if isinstance(value, dict) and "false_alarms" in value:
            raise ValueError(
                "false_alarms (calibrated thresholds) is not in this version: "
                "write a constant per method, as in {psi: {warning: 0.1}}"
            )
        return value

    @model_validator(mode="after")
    def _known(self) -> Drift:
        for kind, chosen, known in (
            ("numeric", self.numeric, NUMERIC),
            ("categorical", self.categorical, CATEGORICAL),
            ("threshold", tuple(self.threshold), {*NUMERIC, *CATEGORICAL}),
        ):
            if wrong := [name for name in chosen if name not in known]:
                raise ValueError(f"{kind}: unknown method {wrong[0]!r}; known are {', '.join(sorted(known))}")
        return self


class Limit(Settings):
    """Bounds of one performance metric: an absolute one, or a worst change from the baseline."""

    min: Levels | None = None
    max: Levels | None = None
    drop: Levels | None = None

    @field_validator("min", "max", mode="before")
    @classmethod
    def _absolute(cls, value: Any) -> Any:
        return {"critical": value} if isinstance(value, int | float) else value

    @field_validator("drop", mode="before")
    @classmethod
    def _relative(cls, value: Any) -> Any:
        return {"warning": value} if isinstance(value, int | float) else value


class Performance(Settings):
    metrics: tuple[str, ...] | None = None
    estimate: bool = False
    threshold: dict[str, Limit] = Field(default_factory=dict)
    min_rows: int = Field(default=200, ge=1)


class Bound(Settings):
    """A largest accepted share: `max` as it stands, or `increase` above the reference's own share."""

    max: Ratio | None = None
    increase: Ratio | None = None

    @model_validator(mode="after")
    def _one(self) -> Bound:
        if (self.max is None) == (self.increase is None):
            raise ValueError("give either max (a share) or increase (above the reference's share)")
        return self


class Quality(Settings):
    missing: Bound = Bound(increase=0.05)
    unseen: Bound = Bound(max=0.01)
    out_of_range: Bound = Bound(increase=0.05)
    invalid: Bound = Bound(max=0.01)
    features: dict[str, dict[Literal["missing", "unseen", "out_of_range", "invalid"], Bound]] = Field(
        default_factory=dict
    )

    def bound(self, feature: str, check: str) -> Bound:
        """Return the bound in force for one feature and check."""
        own: dict[str, Bound] = dict(self.features.get(feature, {}))  # type: ignore[arg-type]
        default: Bound = getattr(self, check)
        return own.get(check, default)


class Model(Settings):
    """One monitored model."""

    name: str = Field(min_length=1)
    task: Task
    columns: Columns
    reference: Source
    predictions: Source
    labels: Source | None = None
    version: str | dict[Literal["column"], str] = "1"
    framework: str = ""
    timezone: str = "UTC"
    schedule: Schedule = Schedule.model_validate({"every": "1m"})
    windows: tuple[Annotated[Window, BeforeValidator(_window)], ...] = Field(
        default=("24h", "7d"),
        min_length=1,
        validate_default=True,
    )
    bucket: Seconds | None = None
    lateness: Seconds | None = None
    data_delay: Seconds | None = None
    max_features: int = Field(default=100, ge=1)
    drift: Drift = Drift()
    performance: Performance = Performance()
    quality: Quality = Quality()
    business: tuple[dict[str, Any], ...] = ()
    serving: dict[str, Any] = Field(default_factory=dict)
    retrain: dict[str, Any] = Field(default_factory=dict)

    @field_validator("timezone")
    @classmethod
    def _zone(cls, name: str) -> str:
        return _known_zone(name)

    @model_validator(mode="after")
    def _consistent(self) -> Model:
        _check_windows(self)
        _check_columns(self)
        known = METRICS[self.task]
        for name in (*(self.performance.metrics or ()), *self.performance.threshold):
            if name not in known:
                raise ValueError(
                    f"performance: unknown metric {name!r} for task {self.task}; known are {', '.join(sorted(known))}"
                )
        return self

    @property
    def bucket_seconds(self) -> int:
        """Length of the time buckets in which rows are counted, in whole seconds; divides each window."""
        if self.bucket is not None:
            return int(self.bucket)
        whole = math.gcd(*(window.seconds for window in self.windows))
        wish = min(window.seconds for window in self.windows) / 24
        return next((step for step in _BUCKETS if step <= wish and whole % step == 0), whole)

    @property
    def data_delay_seconds(self) -> float:
        """Age of the newest row that counts as stale: as configured, else the shortest window."""
        return self.data_delay or float(min(window.seconds for window in self.windows))


_BUCKETS = (86400, 21600, 3600, 900, 300, 60, 10, 1)


def _check_windows(model: Model) -> None:
    bucket = model.bucket_seconds
    for window in model.windows:
        if window.seconds % bucket:
            raise ValueError(
                f"windows: {window.name} is not a multiple of the bucket of {duration.show(bucket)}: "
                f"change bucket or the window"
            )
    names = [window.name for window in model.windows]
    for name, feature in (model.columns.features or {}).items():
        if wrong := [window for window in feature.windows or () if window not in names]:
            raise ValueError(f"columns.features.{name}.windows: {wrong[0]!r} is none of windows: {', '.join(names)}")
    if len(set(names)) < len(names):
        raise ValueError(f"windows: {', '.join(names)} names a window twice")


def _check_columns(model: Model) -> None:
    columns = model.columns
    if model.labels is not None and columns.id is None:
        raise ValueError("columns.id is needed to join a labels file to the predictions: name the id column")
    if model.labels is not None and columns.label is None:
        raise ValueError("columns.label is needed where labels is given: name the label column")
    if model.task == "multiclass" and isinstance(columns.score, str):
        raise ValueError("columns.score of a multiclass model maps each class to its column: {class: column}")
    if model.task == "binary" and isinstance(columns.score, dict):
        raise ValueError("columns.score of a binary model is one column: the probability of the positive class")
    if model.task == "regression" and columns.score is not None:
        raise ValueError("columns.score has no meaning for a regression model: leave it out")


class Config(Settings):
    """The whole configuration file, `defaults` already merged into each model."""

    models: tuple[Model, ...] = Field(min_length=1)
    store: Store = Store()
    series_limit: int = Field(default=50_000, ge=1)
    sinks: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _unique(self) -> Config:
        names = [model.name for model in self.models]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"models: the name {twice[0]!r} is used twice; each model needs its own")
        return self


def not_computed(config: Config) -> list[str]:
    """Name each setting that this version reads but does not act on."""
    found = [f"sinks.{name}" for name in config.sinks]
    for model in config.models:
        present = {
            "columns.segments": model.columns.segments,
            "columns.latency": model.columns.latency,
            "columns.error": model.columns.error,
            "drift.multivariate": model.drift.multivariate,
            "drift.sequential": model.drift.sequential,
            "performance.estimate": model.performance.estimate,
            "business": model.business,
            "serving": model.serving,
            "retrain": model.retrain,
        }
        found += [f"{model.name}: {key}" for key, value in present.items() if value]
    return found


def direction_mistake(metric: str, limit: Limit) -> str | None:
    """Say why a bound has the wrong direction for its metric, or None."""
    if metric in LOWER_IS_BETTER and limit.min is not None:
        return f"{metric}: lower is better, so the bound is a max"
    return None
