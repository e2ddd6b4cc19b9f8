"""The parts of a profile as what the statistics read: columns, reference beside window, and outcomes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from exporter.drift.univariate import Sample
from exporter.performance import expected
from exporter.performance.calibrators import Calibrators
from exporter.performance.expected import Estimate as Expected
from exporter.performance.intervals import Estimate
from exporter.performance.losses import Losses
from exporter.performance.metrics import estimates, scores
from exporter.performance.ranking import RankingOutcomes
from exporter.performance.ranking import estimates as of_groups
from exporter.performance.tables import ClassOutcomes, RegressionOutcomes
from exporter.profile import categorical, estimate, numeric, outcome, ranking
from exporter.profile.categorical import CategoryBins
from exporter.profile.counts import ZERO
from exporter.profile.model import Bins, ModelBins
from exporter.profile.numeric import NumericBins
from exporter.profile.outcome import ClassBins, RegressionBins
from exporter.profile.packed import Packed, Profile
from exporter.rows import Ints

_MANY_CELLS = 2**15


class Part(NamedTuple):
    """One column's bins, and its counts of reference and window; raw: those of categories."""

    bins: Bins
    raw: tuple[Ints, Ints]
    reference: Sample
    current: Sample

    def settle(self) -> None:
        """Of very many cells keep what is told of them, and nothing as long as they are: it can be worked out again."""
        if len(self.current.cells) > _MANY_CELLS and isinstance(self.bins, NumericBins):
            self.reference.settle()
            self.current.settle()
            self.bins.settle()


def bins_of(bins: ModelBins) -> dict[str, Bins]:
    """Return the bins of every judged column: `feature:x`, `prediction`, `score:0`, ..., `label`."""
    found: dict[str, Bins] = {f"feature:{name}": own for name, own in bins.features.items()}
    found |= {"prediction": bins.prediction, **{f"score:{i}": own for i, own in enumerate(bins.scores)}}
    if bins.label is not None:
        found["label"] = bins.label
    elif isinstance(bins.outcomes, ClassBins):
        found["label"] = CategoryBins(bins.outcomes.classes)
    return found


class Column(NamedTuple):
    """One column of a profile: its counts, if it has categories, and as what the statistics read of them."""

    bins: Bins
    raw: Ints
    sample: Sample


class Columns(dict[str, Column]):
    """The judged columns of one dense profile, by name; each is read when it is first asked for.

    So what the statistics work out of a reference is worked out once. The profile must not change any more.
    facts: what `facts` of the same columns told before.
    """

    def __init__(self, bins: ModelBins, vector: Profile, facts: Mapping[str, dict[str, Any]] = MappingProxyType({})):
        super().__init__()
        self._bins, self._vector, self._of, self._facts = bins, vector, bins_of(bins), facts

    def facts(self) -> dict[str, dict[str, Any]]:
        """Return what is known of each column and takes no room."""
        return {**self._facts, **{name: own.sample.facts() for name, own in self.items()}}

    @property
    def names(self) -> Iterable[str]:
        """The names of all columns."""
        return self._of

    def __missing__(self, name: str) -> Column:
        own, raw = self._of[name], counts(self._bins, self._vector, name)
        if isinstance(own, CategoryBins):
            found = Column(own, raw, categorical.sample(own, raw))
        else:  # of a packed profile no copy is kept
            again = partial(counts, self._bins, self._vector, name) if isinstance(self._vector, Packed) else None
            found = Column(own, ZERO.place, numeric.sample(own, raw, again))
        vars(found.sample).update(self._facts.get(name, {}))
        self[name] = found
        return found


def counts(bins: ModelBins, vector: Profile, name: str) -> Ints:
    """Return a column's slice of a dense profile; a classifier's labels are the rows of its confusion table."""
    if name == "label" and isinstance(bins.outcomes, ClassBins):
        confusion = outcome.read_classes(bins.outcomes, bins.part(vector, "outcome")).confusion
        return np.append(confusion.sum(axis=1), (0, 0))
    return bins.part(vector, name)


def outcomes(bins: ModelBins, vector: Profile) -> ClassOutcomes | RegressionOutcomes | None:
    """Return what is known of the labelled rows of a dense profile; None for a model without labels.

    Weighted rows are scaled to as many as they are worth: metrics are ratios, and intervals see what is known.
    """
    counts = bins.part(vector, "weighted" if bins.weight is not None else "outcome")
    found: ClassOutcomes | RegressionOutcomes | None = None
    if isinstance(bins.outcomes, ClassBins):
        found = outcome.read_classes(bins.outcomes, counts)
    elif isinstance(bins.outcomes, RegressionBins):
        found = outcome.read_regression(bins.outcomes, counts)
    if found is None or bins.weight is None:
        return found
    total = bins.total_weight(vector)
    return found.scaled(bins.effective_rows(vector) / total if total else 0.0)


def performance(task: str, bins: ModelBins, vector: Profile, wanted: tuple[str, ...] | None) -> dict[str, float | None]:
    """Return the wanted metrics (None: the task's default ones) over the labelled rows of a dense profile."""
    found = outcomes(bins, vector)
    if found is None:
        return {}
    own = scores(task, found, wanted, task == "regression" or bool(bins.scores), _names(bins))
    return {**own, **{name: one.value for name, one in rankings(bins, vector, wanted).items()}}


def measured(task: str, bins: ModelBins, vector: Profile, wanted: tuple[str, ...] | None) -> dict[str, Estimate]:
    """Return the wanted metrics that have a value, with their intervals, as `performance`."""
    found = outcomes(bins, vector)
    if found is None:
        return {}
    own = estimates(task, found, wanted, task == "regression" or bool(bins.scores), _names(bins))
    return own | rankings(bins, vector, wanted)


def groups(bins: ModelBins, vector: Profile) -> RankingOutcomes | None:
    """Return what is known of the groups of a dense profile; None where rows are not ranked."""
    return ranking.read(bins.ranking, bins.part(vector, "ranking")) if bins.ranking else None


def rankings(bins: ModelBins, vector: Profile, wanted: tuple[str, ...] | None) -> dict[str, Estimate]:
    """Return the wanted metrics of groups that have a value, with their intervals."""
    found = groups(bins, vector)
    return of_groups(found, wanted or ()) if found is not None else {}


def _names(bins: ModelBins) -> tuple[str, ...]:
    return bins.outcomes.classes if isinstance(bins.outcomes, ClassBins) else ()


def estimated(task: str, bins: ModelBins, vector: Profile, wanted: tuple[str, ...] | None) -> dict[str, Expected]:
    """Return the wanted metrics (None: the task's default ones) as they are expected over all rows of a profile."""
    counts = bins.part(vector, "estimate")
    if isinstance(bins.estimator, Calibrators) and isinstance(bins.outcomes, ClassBins):
        return expected.of_classes(task, estimate.read_classes(bins.outcomes, counts), wanted)
    if isinstance(bins.estimator, Losses):
        return expected.of_errors(estimate.read_errors(bins.estimator, counts), wanted)
    return {}


def sample(bins: Bins, counts: Ints) -> Sample:
    """Return a column's counts as what the statistics read."""
    return numeric.sample(bins, counts) if isinstance(bins, NumericBins) else categorical.sample(bins, counts)


def columns(reference: Columns, current: Columns, failed: dict[str, str]) -> dict[str, Part]:
    """Return every judged column; one that cannot be read is named in `failed` with the reason."""
    parts = {}
    for name in reference.names:
        try:
            parts[name] = part(reference, current, name)
            parts[name].settle()
        except (ArithmeticError, ValueError, IndexError) as error:
            failed[name] = f"{type(error).__name__}: {error}"
    return parts


def part(reference: Columns, current: Columns, name: str) -> Part:
    """Return one judged column."""
    before, now = reference[name], current[name]
    return Part(before.bins, (before.raw, now.raw), before.sample, now.sample)
