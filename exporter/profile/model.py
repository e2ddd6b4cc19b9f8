"""All profiles of one model: one vector, in which each column and output has its slice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from exporter.business.columns import Columns, read
from exporter.performance.calibrators import Calibrators
from exporter.performance.losses import Losses
from exporter.profile import delay, estimate, kpi, numeric, outcome, ranking, serving, weight
from exporter.profile.categorical import CategoryBins
from exporter.profile.columns import Column, Unread
from exporter.profile.counts import Counts, Placed, add, gather, joined, keep_rows, moved, ones
from exporter.profile.estimate import Estimator
from exporter.profile.kpi import KpiBins
from exporter.profile.labelled import Labelled, count_classes
from exporter.profile.numeric import NumericBins
from exporter.profile.outcome import ClassBins, Outcomes, RegressionBins
from exporter.profile.packed import Packed, Profile
from exporter.profile.plain import (
    Pack,
    bins_from_plain,
    bins_to_plain,
    estimator_from_plain,
    estimator_to_plain,
    packed,
)
from exporter.profile.ranking import Answers, RankingBins
from exporter.profile.serving import ErrorBins, LatencyBins
from exporter.profile.tally import Cut, count_column, groups_of, place_column
from exporter.profile.tally import cut as cut_rows
from exporter.profile.weight import WeightBins
from exporter.rows import CategoryColumn, Ints, NumericColumn
from exporter.threads import each

Bins = NumericBins | CategoryBins
WORTH_THREADS = 500_000  # values to count from which on handing them to threads costs less than it gains


class Batch(NamedTuple):
    """Rows of a log as typed columns of equal length."""

    rows: int
    features: Mapping[str, Column]
    prediction: Column
    scores: tuple[NumericColumn, ...]
    table: pa.Table | None = None  # what serving and business indicators read of it; None: nothing


class ModelBins:
    """Where everything that is known of a model's rows falls. Equal hashes mean that profiles add up."""

    def __init__(
        self,
        features: dict[str, Bins],
        prediction: Bins,
        scores: tuple[NumericBins, ...],
        label: NumericBins | None,
        outcomes: ClassBins | RegressionBins | None,
        latency: LatencyBins | None = None,
        errors: ErrorBins | None = None,
        kpis: tuple[KpiBins, ...] = (),
        estimator: Estimator | None = None,
        ranked: RankingBins | None = None,
        weights: WeightBins | None = None,
    ):
        self.features = features
        self.prediction = prediction
        self.scores = scores
        self.label = label
        self.outcomes = outcomes
        self.latency = latency
        self.errors = errors
        self.kpis = kpis
        self.estimator = estimator
        self.ranking = ranked
        self.weight = weights
        self._starts: dict[str, int] = {}
        sizes = {"rows": 1, **{f"feature:{name}": bins.size for name, bins in features.items()}}
        sizes |= {"prediction": prediction.size, **{f"score:{i}": b.size for i, b in enumerate(scores)}}
        sizes |= {"label": label.size if label else 0, "outcome": outcomes.size if outcomes else 0}
        sizes |= {"latency": latency.size if latency else 0, "error": errors.size if errors else 0}
        sizes |= {f"kpi:{own.name}": own.size for own in kpis}
        sizes |= {"estimate": estimate.size(estimator, self._classes) if estimator else 0}
        sizes |= {"delay": delay.SIZE if outcomes else 0, "ranking": ranked.size if ranked else 0}
        sizes |= {"weight": weights.size if weights else 0, "weighted": sizes["outcome"] if weights else 0}
        place = 0
        for name, size in sizes.items():
            self._starts[name] = place
            place += size
        self.size = place
        self._sizes = sizes

    def with_estimator(self, estimator: Estimator | None) -> ModelBins:
        """Return the same bins, with places for what is expected of rows without a label."""
        columns = (self.features, self.prediction, self.scores, self.label, self.outcomes)
        return ModelBins(*columns, self.latency, self.errors, self.kpis, estimator, self.ranking, self.weight)

    @property
    def _classes(self) -> ClassBins | None:
        return self.outcomes if isinstance(self.outcomes, ClassBins) else None

    def span(self, name: str) -> tuple[int, int]:
        """Return where a part starts, and its length."""
        return self._starts[name], self._sizes[name]

    def part(self, vector: Profile, name: str) -> Ints:
        """Return the slice of a dense profile that belongs to `rows`, `feature:x`, `prediction`, `outcome`, ...

        Of a packed one it is a copy.
        """
        start, size = self.span(name)
        return vector.part(start, start + size) if isinstance(vector, Packed) else vector[start : start + size]

    def _shift(self, name: str, placed: list[Placed]) -> list[Placed]:
        start = self._starts[name]
        return [part._replace(place=part.place + start) for part in placed]

    def place_rows(self, batch: Batch) -> list[Placed]:
        """Place predictions: features, outputs and the number of rows."""
        every = np.arange(batch.rows, dtype=np.int64)
        placed = [ones(every, np.zeros(batch.rows, np.int64))]
        for name, (bins, column) in self._columns(batch).items():
            found = batch.features[column] if isinstance(column, str) else column
            placed += self._shift(name, place_column(bins, found))
        return placed + self._place_rest(batch)

    def count_rows(
        self,
        batch: Batch,
        cuts: Sequence[Cut],
        more: Sequence[Placed] = (),
        labelled: Labelled | None = None,
        counted: Mapping[str, Counts] = MappingProxyType({}),
    ) -> list[list[Counts]]:
        """Count rows by groups, in several ways: what `place_rows`, `place_outcomes` and `gather` give.

        more: what else to count of these rows. labelled: those whose label is known. counted: parts that are counted
        already, all rows as one group. Columns are counted one by one, on all threads; what is not read yet is read
        there.
        """
        columns = self._columns(batch)

        def count(name: str) -> list[list[Counts]]:
            if name in counted:
                return [[counted[name]]]
            bins, column = columns[name]
            if isinstance(column, str):
                pieces = batch.features.pieces(column) if isinstance(batch.features, Unread) else None
                return count_column(bins, batch.features[column] if pieces is None else pieces, cuts)
            return count_column(bins, column, cuts)

        many = batch.rows * (len(columns) - len(counted)) >= WORTH_THREADS
        found_of = each(count, columns) if many else [count(name) for name in columns]
        rest = [*self._place_rest(batch), *more]
        if labelled is not None and len(labelled.row):
            rest += [part._replace(row=labelled.row[part.row]) for part in self._place_labels(labelled.outcomes)]
        found = []
        for number, cut in enumerate(cuts):
            group = groups_of(cut, batch.rows)
            others = gather([keep_rows(part, group >= 0) for part in rest], group, cut.groups, self.size)
            if labelled is not None and isinstance(self.outcomes, ClassBins):
                for own, counts in self._count_classes(self.outcomes, labelled, group):
                    others[own] = add(others[own], counts)
            found.append(self._joined([one[number] for one in found_of], list(columns), np.diff(cut.bounds), others))
        return found

    def _count_classes(self, bins: ClassBins, labelled: Labelled, group: Ints) -> Iterator[tuple[int, Counts]]:
        """Return groups that have labelled rows, and a classifier's outcomes in them."""
        of_rows = group[labelled.row]
        groups, own = cut_rows(of_rows, of_rows >= 0)
        counted = count_classes(bins, labelled.outcomes, own)
        return ((int(g), moved(one, self._starts["outcome"])) for g, one in zip(groups, counted, strict=True))

    def _joined(self, counted: list[list[Counts]], names: list[str], rows: Ints, others: list[Counts]) -> list[Counts]:
        """Put each group's rows, columns and the rest together; the rest has its places behind all columns."""
        starts = [0, *(self._starts[name] for name in names), 0]
        found = []
        for number, other in enumerate(others):
            own = Counts(np.zeros(1, np.int64), rows[number : number + 1])
            found.append(joined([own, *(one[number] for one in counted), other], starts))
        return found

    def _columns(self, batch: Batch) -> dict[str, tuple[Bins, Column | str]]:
        """Return part -> its bins, and its column or the name of a feature."""
        found: dict[str, tuple[Bins, Column | str]] = {
            f"feature:{name}": (b, name) for name, b in self.features.items()
        }
        found["prediction"] = self.prediction, batch.prediction
        return found | {f"score:{i}": own for i, own in enumerate(zip(self.scores, batch.scores, strict=True))}

    def _place_rest(self, batch: Batch) -> list[Placed]:
        """Place what is not of one column: serving, indicators, estimates."""
        placed: list[Placed] = []
        if batch.table is not None:
            if self.latency:
                placed += self._shift("latency", serving.place_latency(self.latency, batch.table))
            if self.errors:
                placed += self._shift("error", serving.place_errors(self.errors, batch.table))
            early = [own for own in self.kpis if not own.outcomes]
            columns = read(batch.table, tuple({name for own in early for name in own.columns}))
            placed += self._place_kpis(early, columns, batch.rows)
        return placed + self._shift("estimate", self._place_estimate(batch))

    def place_expected(self, placed: list[Placed]) -> list[Placed]:
        """Return what was placed of an estimate where it belongs."""
        return self._shift("estimate", placed)

    def _place_estimate(self, batch: Batch) -> list[Placed]:
        if isinstance(self.estimator, Losses) and isinstance(batch.prediction, NumericColumn):
            prediction = np.where(batch.prediction.valid, batch.prediction.values, np.nan)
            known = {name: batch.features[name] for name in self.estimator.features}
            columns = estimate.columns_of(known, self.estimator.orders, prediction)
            return estimate.place_errors(self.estimator, columns)
        if isinstance(self.estimator, Calibrators) and isinstance(batch.prediction, CategoryColumn):
            assert self._classes is not None
            index = {name: float(number) for number, name in enumerate(self._classes.classes)}
            table = np.array([*(index.get(name, -1.0) for name in batch.prediction.names), -1.0])
            scores = np.column_stack([np.where(own.valid, own.values, np.nan) for own in batch.scores])
            return estimate.place_classes(self.estimator, self._classes, table[batch.prediction.codes], scores)
        return []

    def _place_kpis(self, kpis: list[KpiBins], columns: Columns, rows: int) -> list[Placed]:
        """Place what indicators say of rows; a value_matrix is read from the outcomes."""
        counted = [own for own in kpis if own.terms]
        return [part for own in counted for part in self._shift(f"kpi:{own.name}", kpi.place(own, columns, rows))]

    def place_outcomes(self, rows: Outcomes) -> list[Placed]:
        """Place predictions whose label is known; returns nothing for a model without labels."""
        labels = self._place_labels(rows)
        if isinstance(self.outcomes, ClassBins):
            labels += self._shift("outcome", outcome.place_classes(self.outcomes, rows))
        return labels

    def _place_labels(self, rows: Outcomes) -> list[Placed]:
        """Place what is known of labelled rows but for a classifier's outcomes, which may be counted by sorting."""
        labels: list[Placed] = []
        if self.label is not None:
            valid = np.ones(len(rows.label), np.bool_)
            labels += self._shift("label", numeric.place(self.label, rows.label, valid))
        if self.outcomes is not None and rows.delay is not None:
            labels += self._shift("delay", delay.place(rows.delay))
        labels += self._place_kpis([own for own in self.kpis if own.outcomes], rows.columns, len(rows.label))
        if isinstance(self.outcomes, RegressionBins):
            labels += self._shift("outcome", outcome.place_regression(self.outcomes, rows))
        if self.weight is not None and rows.weight is not None:
            units = weight.units(self.weight, rows.weight)
            labels += self._shift("weight", weight.place(units))
            labels += self._shift("weighted", self._place_outcomes(rows, units))
        return labels

    def _place_outcomes(self, rows: Outcomes, units: Ints | None) -> list[Placed]:
        if isinstance(self.outcomes, ClassBins):
            return outcome.place_classes(self.outcomes, rows, units)
        return outcome.place_regression(self.outcomes, rows, units) if self.outcomes is not None else []

    def place_groups(self, group: Ints, moment: Ints, rows: Outcomes) -> list[Placed]:
        """Place groups of rows, each at its earliest one; group: number of each row's group, -1 is none.

        The score is that of the positive class, or the prediction; relevant is the positive class, or a label above 0.
        """
        if self.ranking is None:
            return []
        score = rows.scores[:, 0] if self._classes else rows.prediction
        return self._shift("ranking", ranking.place(self.ranking, Answers(group, moment, score, rows.label)))

    def estimated_rows(self, vector: Profile) -> int:
        """Return the number of rows of which performance is estimated."""
        return estimate.rows(self.estimator, self._classes, self.part(vector, "estimate")) if self.estimator else 0

    def labelled_rows(self, vector: Profile) -> int:
        """Return the number of rows whose label is known."""
        if isinstance(self.outcomes, ClassBins):
            return int(self.part(vector, "outcome")[: self.outcomes.losses].sum())
        return int(self.part(vector, "outcome")[0]) if self.outcomes else 0

    def effective_rows(self, vector: Profile) -> float:
        """Return how many labelled rows that count alike the weighted ones are worth (Kish 1965)."""
        squares = float(self.part(vector, "weight")[0]) if self.weight is not None else 0.0
        if not squares:
            return 0.0 if self.weight is not None else float(self.labelled_rows(vector))
        return self.total_weight(vector) ** 2 / squares

    def total_weight(self, vector: Profile) -> float:
        """Return the sum of the weights, in whole units."""
        own = self.part(vector, "weighted")
        return float(own[: self.outcomes.losses].sum() if isinstance(self.outcomes, ClassBins) else own[0])

    def rest(self) -> None:
        """Take less memory until the next use."""
        for own in (*self.features.values(), self.prediction, *self.scores, *([self.label] if self.label else [])):
            if isinstance(own, NumericBins):
                own.rest()

    @cached_property
    def hash(self) -> str:
        """Short SHA-256 of the bins."""
        found = hashlib.sha256()

        def digest(values: NDArray[Any]) -> int:
            found.update(values.data)
            return len(values)

        found.update(json.dumps(to_json(self, digest)).encode())
        return found.hexdigest()[:16]


def to_json(bins: ModelBins, pack: Pack = packed) -> dict[str, Any]:
    """Return plain values for the store; numbers come back to the last bit. pack: writes an array."""
    parts: dict[str, Any] = {"latency": bins.latency and bins.latency._asdict()}
    parts |= {"ranking": bins.ranking and bins.ranking._asdict()}
    parts |= {"weight": bins.weight and bins.weight._asdict()}
    parts |= {"errors": bins.errors and bins.errors._asdict(), "kpis": [kpi.to_plain(own) for own in bins.kpis]}
    found = {
        "features": {name: bins_to_plain(own, pack) for name, own in bins.features.items()},
        "prediction": bins_to_plain(bins.prediction, pack),
        "scores": [bins_to_plain(own, pack) for own in bins.scores],
        "label": bins_to_plain(bins.label, pack),
        "outcomes": bins_to_plain(bins.outcomes, pack),
        **{name: own for name, own in parts.items() if own},
    }
    return found | ({"estimator": estimator_to_plain(bins.estimator)} if bins.estimator else {})


def from_json(plain: dict[str, Any]) -> ModelBins:
    """Read what `to_json` wrote."""
    return ModelBins(
        {name: bins_from_plain(own) for name, own in plain["features"].items()},
        bins_from_plain(plain["prediction"]),
        tuple(bins_from_plain(own) for own in plain["scores"]),
        bins_from_plain(plain["label"]),
        bins_from_plain(plain["outcomes"]),
        LatencyBins(**plain["latency"]) if "latency" in plain else None,
        ErrorBins(**plain["errors"]) if "errors" in plain else None,
        tuple(kpi.from_plain(own) for own in plain.get("kpis", ())),
        estimator_from_plain(plain.get("estimator")),
        RankingBins(plain["ranking"]["column"], tuple(plain["ranking"]["metrics"])) if "ranking" in plain else None,
        WeightBins(**plain["weight"]) if "weight" in plain else None,
    )
