"""Four real deployments, 302 weekly windows: what the monitor publishes against scipy and scikit-learn on the rows.

The oracles are in `tests/data/oracles`; `tests/data/README.md` defines them. They are written with 12 digits, so a
value that counts carry exactly agrees to a relative 1e-9 (`agree`). Where cells stand for rows, the error must be
within the bound of the docstring, computed from the counts, and within the largest one named here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from exporter.drift.univariate import CATEGORICAL, METHODS, NUMERIC, Sample
from exporter.evaluate.performance import bounds
from exporter.parts import sample
from exporter.profile import outcome
from exporter.profile.outcome import ClassBins
from exporter.readings import Readings
from tests.unit.helpers.bounds import average_precision_interval, ks_bound, roc_auc_bound, wasserstein_interval
from tests.unit.helpers.by_rows import binned, statistics

# The largest error that these 302 windows show, and the largest bound; `docs/statistics.md` names them.
LARGEST = {"wasserstein": 0.01, "roc_auc": 1.4e-4, "average_precision": 1e-3, "roc_auc_ovr_macro": 5e-4}
BOUNDS = {"ks": 2.4e-4, "wasserstein": 0.12, "roc_auc": 7e-4, "average_precision": 5e-3, "roc_auc_ovr_macro": 5e-3}
classifiers = pytest.mark.parametrize("replayed", ["flights", "flights_status", "retail"], indirect=True)
ROUNDING = 2.0**-33  # of one row's loss, in its unit: sums are kept as whole units and 2**-32 parts
QUANTITIES = {
    "jensen_shannon": "js_distance",
    "hellinger": "hellinger",
    "l_infinity": "l_infinity",
    "psi": "psi",
    "chi2": "chi2_stat",
}


def agree(name: str, table: pd.DataFrame, ours: str, oracle: str, within: float | pd.Series = 1e-12) -> None:
    """Assert that two columns agree to a relative 1e-9 or absolutely to `within`; a value on one side only fails."""
    assert len(table)
    a, b = table[ours], table[oracle]
    bad = table[~((a - b).abs() <= np.maximum(1e-9 * b.abs(), within)) & ~(a.isna() & b.isna())]
    shown = bad[[c for c in ("week", "column", "labels_as_of", ours, oracle) if c in bad]].head(5)
    assert bad.empty, f"{name}: {len(bad)} of {len(table)} values of {ours} differ from the oracle's:\n{shown}"


def published(readings: Readings, names: dict[str, str]) -> dict[str, dict[str, float]]:
    """Return column -> method -> score of features and outputs; `names` has the columns of the outputs."""
    found: dict[str, dict[str, float]] = {}
    for family in ("model_feature_drift_score", "model_prediction_drift_score"):
        for one in readings.get(family, []):
            column, method = one.labels[-2:]
            found.setdefault(names[column] if family.startswith("model_pred") else column, {})[method] = one.value
    return found


@functools.cache
def compared(replay, kind: str) -> pd.DataFrame:  # type: ignore[no-untyped-def]
    """Return the oracle's table beside what was published, and the samples that it was computed from."""
    rows = [
        {"week": week, "column": column, **scores}
        for week, one in replay.weeks.items()
        for column, scores in published(one.readings, replay.outputs).items()
    ]
    oracle = replay.oracle(f"drift_{kind}").rename(columns=lambda name: f"oracle_{name}")
    oracle = oracle.rename(columns={"oracle_week": "week", "oracle_column": "column"})
    table = oracle.merge(pd.DataFrame(rows), on=["week", "column"], how="left", validate="1:1")
    table["bins"] = [replay.bins(column) for column in table["column"]]
    sides = {column: sample(replay.bins(column), replay.counts(column, None)) for column in set(table["column"])}
    table["reference"] = [sides[column] for column in table["column"]]
    table["current"] = [
        sample(bins, replay.counts(column, week))
        for week, column, bins in zip(table["week"], table["column"], table["bins"], strict=True)
    ]
    return table


@functools.cache
def by_week(replay) -> dict[str, pd.DataFrame]:  # type: ignore[no-untyped-def]
    """Return the predictions of each week."""
    return dict(iter(replay.frame.groupby("week")))


@pytest.fixture
def numbers(replayed) -> pd.DataFrame:
    """Numeric features and scores, one row a week and column."""
    return compared(replayed, "numeric")


@pytest.fixture
def categories(replayed) -> pd.DataFrame:
    """Categorical features and outputs, one row a week and column."""
    return compared(replayed, "categorical")


# --- counts -------------------------------------------------------------------------------------------------------


def test_every_week_and_column_is_judged(replayed, numbers, categories):
    """What is published is what the oracles have, no more and no less; with a score of every method."""
    found = {(w, c) for w, one in replayed.weeks.items() for c in published(one.readings, replayed.outputs)}
    wanted = {key for table in (numbers, categories) for key in zip(table["week"], table["column"], strict=True)}
    assert found == wanted
    assert numbers[list(NUMERIC)].notna().all(axis=None)
    assert categories[list(CATEGORICAL)].notna().all(axis=None)


def test_rows_are_counted_exactly(replayed, numbers, categories):
    """Rows with a value, out-of-range and unseen rows: the same whole numbers."""
    for table in (numbers, categories):
        for side, count in (("reference", "oracle_n_ref"), ("current", "oracle_n_cur")):
            agree(replayed.name, table.assign(rows=[one.rows for one in table[side]]), "rows", count, 0)
    outside = [int(one.cells[0] + one.cells[-1]) for one in numbers["current"]]
    assert outside == numbers["oracle_out_of_ref_range"].tolist(), replayed.name
    unseen = [int(one.bins[-1]) for one in categories["current"]]
    assert unseen == categories["oracle_n_rows_new_categories"].tolist(), replayed.name
    assert [len(b.categories) for b in categories["bins"]] == categories["oracle_n_categories_ref"].tolist()


def test_missing_rows_are_counted_exactly(replayed):
    """Missing rows per column and window, features and outputs, and their share of the reference."""
    oracle = replayed.oracle("missing")
    bins = [replayed.bins(column) for column in oracle["column"]]
    weeks = zip(oracle["column"], oracle["week"], bins, strict=True)
    assert [int(replayed.counts(c, w)[b.missing]) for c, w, b in weeks] == oracle["missing"].tolist(), replayed.name
    rows = {week: int(one.vector[0]) for week, one in replayed.weeks.items()}
    assert [rows[week] for week in oracle["week"]] == oracle["rows"].tolist()
    total = int(replayed.baseline.vector[0])
    share = [int(replayed.counts(c, None)[b.missing]) / total for c, b in zip(oracle["column"], bins, strict=True)]
    agree(replayed.name, oracle.assign(share=share), "share", "missing_share_ref")


def test_published_quality_shares_are_the_counts(replayed, numbers, categories):
    """Each published share of missing, unseen and out-of-range values is count / rows, to the last bit."""
    missing = replayed.oracle("missing").set_index(["week", "column"])
    wanted = {("missing", *key): count / rows for *key, count, rows in _keyed(missing, "missing", "rows")}
    for table, check, column in (
        (numbers, "out_of_range", "oracle_out_of_ref_range"),
        (categories, "unseen", "oracle_n_rows_new_categories"),
    ):
        indexed = table.set_index(["week", "column"]).join(missing["rows"])
        wanted |= {(check, *key): count / rows for *key, count, rows in _keyed(indexed, column, "rows")}
    features = replayed.baseline.bins.features
    wanted = {key: share for key, share in wanted.items() if key[2] in features}
    found = {
        (check, week, reading.labels[4]): reading.value
        for week, one in replayed.weeks.items()
        for check in ("missing", "out_of_range", "unseen")
        for reading in one.readings.get(f"model_feature_{check}_ratio", [])
    }
    assert found == wanted


def _keyed(table: pd.DataFrame, *columns: str) -> list[tuple]:
    return [(*key, *row) for key, row in zip(table.index, table[list(columns)].to_numpy(), strict=True)]


# --- numeric drift ------------------------------------------------------------------------------------------------


def test_kolmogorov_smirnov(replayed, numbers):
    """Equals scipy's where each reference value is a knot; else at most 1 / (k - 1) too small for k knots."""
    exact = np.array([bins.exact for bins in numbers["bins"]])
    agree(replayed.name, numbers[exact], "ks", "oracle_ks_stat")
    rest = numbers[~exact]
    bound = np.array([ks_bound(one) for one in rest["reference"]])
    short = rest["oracle_ks_stat"] - rest["ks"]
    wrong = rest[(short < -1e-11) | (short > bound + 1e-11)]
    assert wrong.empty, f"{replayed.name}: {wrong[['week', 'column', 'ks', 'oracle_ks_stat']].head()}"
    assert (bound <= 1 / (replayed.model.drift.knots - 1)).all()
    assert (bound <= BOUNDS["ks"]).all()


def test_wasserstein(replayed, numbers):
    """Equals scipy's over the reference's standard deviation, or is within the bound of the docstring."""
    sides = zip(numbers["reference"], numbers["current"], numbers["wasserstein"], strict=True)
    low, high = np.array([wasserstein_interval(*one) for one in sides]).T
    exact = high - low <= 1e-12 * high
    assert exact.any()
    agree(replayed.name, numbers[exact], "wasserstein", "oracle_wasserstein_over_ref_std")
    rest = numbers[~exact]
    oracle = rest["oracle_wasserstein_over_ref_std"]
    slack = 1e-9 * oracle + 1e-12
    wrong = rest[(oracle < low[~exact] - slack) | (oracle > high[~exact] + slack)]
    assert wrong.empty, f"{replayed.name}: {wrong[['week', 'column', 'wasserstein', oracle.name]].head()}"
    assert (rest["wasserstein"] - oracle).abs().max() <= LARGEST["wasserstein"]
    assert (
        max((high[~exact] - rest["wasserstein"]).max(), (rest["wasserstein"] - low[~exact]).max())
        <= BOUNDS["wasserstein"]
    )


def test_mean(replayed, numbers):
    """The mean equals numpy's: positions within a cell are kept to 2**-31 of its width."""
    for side, oracle in (("reference", "oracle_mean_ref"), ("current", "oracle_mean_cur")):
        width = pd.Series([np.diff(b.knots).max() for b in numbers["bins"]], numbers.index)
        table = numbers.assign(mean=[one.mean for one in numbers[side]])
        agree(replayed.name, table, "mean", oracle, 2.0**-31 * width)


def close_to(name: str, table: pd.DataFrame, method: str, oracle: str) -> None:
    """Assert that a statistic agrees; a Jensen-Shannon distance near 0 is the root of a rounding error."""
    agree(name, table, method, oracle, 2e-8 if method == "jensen_shannon" else 1e-10)


def test_decile_statistics_equal_the_oracles(replayed, numbers):
    """JS, Hellinger and L-infinity equal the oracle's where no deciles coincide; PSI where also no bin is empty.

    Else the oracle collapses bins, or fills an empty one with 1e-4, and `test_decile_statistics_of_the_rows` holds.
    """
    values = {c: replayed.reference[c].dropna() for c in set(numbers["column"])}
    plain = numbers[[len(set(values[c].quantile(np.linspace(0, 1, 11)))) == 11 for c in numbers["column"]]]
    for method in ("jensen_shannon", "hellinger", "l_infinity"):
        close_to(replayed.name, plain, method, f"oracle_{QUANTITIES[method]}_decile")
    full = plain[[one.bins.min() > 0 for one in plain["current"]]]
    close_to(replayed.name, full, "psi", "oracle_psi_decile")


def test_decile_statistics_of_the_rows(replayed, numbers):
    """The bins have the counts that numpy finds in the rows, and each statistic is scipy's of them."""
    rows = by_week(replayed)
    reference = {c: replayed.reference[c].dropna().to_numpy(np.float64) for c in set(numbers["column"])}
    expected = {c: binned(values, values) for c, values in reference.items()}
    found = []
    for one in numbers.itertuples():
        values = rows[one.week][one.column].dropna().to_numpy(np.float64)
        counts = binned(reference[one.column], values)
        where = f"{replayed.name} {one.week} {one.column}"
        assert [*one.current.bins] == [*counts], where
        assert [*one.reference.bins] == [*expected[one.column]], where
        found.append(statistics(expected[one.column], counts))
    table = numbers.assign(**pd.DataFrame(found, numbers.index).add_prefix("rows_"))
    for method in QUANTITIES:
        close_to(replayed.name, table, method, f"rows_{method}")


# --- categorical drift --------------------------------------------------------------------------------------------


def test_categorical_statistics_equal_the_oracles(replayed, categories):
    """Chi-square, JS and Hellinger equal the oracle's with any number of unseen categories.

    L-infinity with at most one, since all of them are one bin here; PSI where no category is empty on either side.
    """
    for method in ("chi2", "jensen_shannon", "hellinger"):
        close_to(replayed.name, categories, method, f"oracle_{QUANTITIES[method]}")
    few = categories[categories["oracle_n_new_categories"] <= 1]
    close_to(replayed.name, few, "l_infinity", "oracle_l_infinity")
    same = categories["oracle_n_categories_ref"] == categories["oracle_n_categories_cur"]
    full = categories[same & (categories["oracle_n_new_categories"] == 0)]
    close_to(replayed.name, full, "psi", "oracle_psi")


def test_categorical_statistics_of_the_rows(replayed, categories):
    """With all unseen categories as one bin, each statistic is scipy's of the rows' counts."""
    rows = by_week(replayed)
    found = []
    for one in categories.itertuples():
        before = replayed.reference[one.column].dropna().astype(str).value_counts().sort_index()
        after = rows[one.week][one.column].dropna().astype(str).value_counts()
        unseen = int(after[~after.index.isin(before.index)].sum())
        p = np.append(before.to_numpy(), 0)
        q = np.append(after.reindex(before.index, fill_value=0).to_numpy(), unseen)
        assert [*one.current.bins] == [*q], f"{replayed.name} {one.week} {one.column}"
        found.append(statistics(p, q))
    table = categories.assign(**pd.DataFrame(found, categories.index).add_prefix("rows_"))
    for method in QUANTITIES:
        close_to(replayed.name, table, method, f"rows_{method}")


# --- p-values -----------------------------------------------------------------------------------------------------


def p_of(method: str) -> Callable[[Sample, Sample], float]:
    """Return what computes a method's p-value of two samples."""
    row = METHODS[method]
    assert row.p_value is not None
    return lambda a, b: row.p_value(row.score(a, b), a, b)  # type: ignore[misc]


def test_p_values(replayed, numbers, categories):
    """KS: scipy's asymptotic p-value where KS is exact. Chi-square: scipy's with at most one unseen category."""
    exact = numbers[[bins.exact for bins in numbers["bins"]]]
    few = categories[categories["oracle_n_new_categories"] <= 1]
    for table, method, oracle in ((exact, "ks", "oracle_ks_pvalue_asymp"), (few, "chi2", "oracle_chi2_pvalue")):
        p = [p_of(method)(a, b) for a, b in zip(table["reference"], table["current"], strict=True)]
        agree(replayed.name, table.assign(p=p), "p", oracle, 1e-12)


# --- performance --------------------------------------------------------------------------------------------------


@pytest.fixture
def measured(replayed) -> pd.DataFrame:
    """The metrics, one row a week and time of the labels."""
    rows = []
    for (week, as_of), (readings, counts) in replayed.performance.items():
        scores = {one.labels[-1]: one.value for one in readings.get("model_performance_score", [])}
        coverage = {one.value for one in readings["model_labels_coverage_ratio"]}
        rows.append({"week": week, "labels_as_of": as_of, "coverage": coverage.pop(), "counts": counts, **scores})
    oracle = replayed.oracle("performance").rename(columns=lambda name: f"oracle_{name}")
    oracle = oracle.rename(columns={"oracle_week": "week", "oracle_labels_as_of": "labels_as_of"})
    table = oracle.merge(pd.DataFrame(rows), on=["week", "labels_as_of"], how="left", validate="1:1")
    assert len(table) == len(rows) == 3 * len(replayed.weeks)
    return table


def test_labelled_rows_are_counted_exactly(replayed, measured):
    """Labelled rows at each of the three times, their share, and each cell of the confusion matrix."""
    labelled = [int(_labelled(replayed, counts)) for counts in measured["counts"]]
    assert labelled == measured["oracle_n_labelled"].tolist(), replayed.name
    rows = [int(replayed.weeks[week].vector[0]) for week in measured["week"]]
    assert rows == measured["oracle_n_predictions"].tolist(), replayed.name
    agree(replayed.name, measured, "coverage", "oracle_label_coverage")
    bins = replayed.baseline.bins.outcomes
    if isinstance(bins, ClassBins):
        found = [_cells(replayed.performance[w, a][0]) for w, a in measured[["week", "labels_as_of"]].to_numpy()]
        names = {(a, p): f"oracle_cm_{a}__as__{p}" for a in bins.classes for p in bins.classes}
        if len(bins.classes) == 2:
            kinds = ("tn", "fp", "fn", "tp")
            names = dict(zip(names, (f"oracle_{kind}" for kind in kinds), strict=True))
        for cell, column in names.items():
            assert [one[cell] for one in found] == measured[column].tolist(), f"{replayed.name}: {column}"


def _labelled(replay, counts: np.ndarray) -> int:  # type: ignore[no-untyped-def]
    bins = replay.baseline.bins.outcomes
    return outcome.read_classes(bins, counts).rows if isinstance(bins, ClassBins) else counts[0]


def _cells(readings: Readings) -> dict[tuple[str, str], float]:
    return {one.labels[-2:]: one.value for one in readings["model_confusion_rows"]}  # type: ignore[misc]


FROM_CONFUSION = {
    "binary": ("accuracy", "precision", "recall", "f1", "balanced_accuracy", "specificity", "mcc", "kappa"),
    "multiclass": (
        *("accuracy", "precision_macro", "recall_macro", "f1_macro"),
        *("balanced_accuracy", "f1_weighted", "mcc"),
    ),
    "regression": (),
}
LOSSES = {"binary": ("log_loss", "brier"), "multiclass": ("log_loss",), "regression": ()}


@classifiers
def test_metrics_of_the_confusion_matrix(replayed, measured):
    """Equal scikit-learn's, and have no value where it has none."""
    for metric in FROM_CONFUSION[replayed.model.task]:
        oracle = "cohen_kappa" if metric == "kappa" else metric
        agree(replayed.name, measured, metric, f"oracle_{oracle}")


@pytest.mark.parametrize("replayed", ["flights", "retail"], indirect=True)
def test_calibration_error(replayed, measured):
    """Over ten bins of equal width, to the rounding of sums."""
    agree(replayed.name, measured, "calibration_error", "oracle_ece_10_equal_width", ROUNDING)


@classifiers
def test_losses(replayed, measured):
    """Log loss and Brier score equal scikit-learn's to the rounding of sums, 2**-33 a row."""
    for metric in LOSSES[replayed.model.task]:
        agree(replayed.name, measured, metric, f"oracle_{metric}", ROUNDING)


@pytest.mark.parametrize("replayed", ["bikes"], indirect=True)
def test_regression_metrics(replayed, measured):
    """Equal scikit-learn's to the rounding of sums: 2**-33 a row, in units of the reference labels' deviation."""
    bins = replayed.baseline.bins.outcomes
    for metric in ("mae", "mean_error"):
        agree(replayed.name, measured, metric, f"oracle_{metric}", ROUNDING * bins.scale)
    agree(replayed.name, measured.assign(mse=measured["rmse"] ** 2), "mse", "oracle_mse", ROUNDING * bins.scale**2)
    for metric in ("rmse", "r2", "wape"):
        agree(replayed.name, measured, metric, f"oracle_{metric}", 1e-9)


def _tables(replay, measured: pd.DataFrame) -> list[tuple]:  # type: ignore[no-untyped-def]
    return [outcome.read_classes(replay.baseline.bins.outcomes, counts).scores for counts in measured["counts"]]


@classifiers
def test_roc_auc(replayed, measured):
    """Within half the sum over cells between knots of positive share x negative share; none with one class only."""
    metric = "roc_auc" if replayed.model.task == "binary" else "roc_auc_ovr_macro"
    bounds = [[roc_auc_bound(one) for one in tables] for tables in _tables(replayed, measured)]
    within = [np.nan if None in bound else float(np.mean(bound)) for bound in bounds]
    agree(replayed.name, measured, metric, f"oracle_{metric}", pd.Series(within, measured.index) + 1e-12)
    assert (measured[metric] - measured[f"oracle_{metric}"]).abs().max() <= LARGEST[metric]
    assert np.nanmax(within) <= BOUNDS[metric]


@pytest.mark.parametrize("replayed", ["flights", "retail"], indirect=True)
def test_average_precision(replayed, measured):
    """Lies between the values with each cell's rows in the worst and the best order.

    The oracle has none where one class only is known; with positives only it is 1, as scikit-learn's is.
    """
    both = measured["oracle_average_precision"].notna()
    assert (measured.loc[~both, "average_precision"] == 1).all()
    table = measured[both]
    low, high = np.array([average_precision_interval(*tables) for tables in _tables(replayed, table)]).T
    ours, oracle = table["average_precision"], table["oracle_average_precision"]
    wrong = table[(oracle < low - 1e-11) | (oracle > high + 1e-11) | (ours < low - 1e-11) | (ours > high + 1e-11)]
    assert wrong.empty, f"{replayed.name}: {wrong[['week', 'labels_as_of', ours.name, oracle.name]].head()}"
    assert (ours - oracle).abs().max() <= LARGEST["average_precision"]
    assert max((high - ours).max(), (ours - low).max()) <= BOUNDS["average_precision"]


def test_reference_metrics(replayed):
    """The baseline of each metric equals scikit-learn's on the reference's labelled rows."""
    (oracle,) = replayed.oracle("performance_reference").to_dict("records")
    readings = bounds(replayed.model, replayed.baseline, ["1"])
    ours = {one.labels[-1]: one.value for one in readings["model_performance_score_baseline"]}
    counts = replayed.baseline.bins.part(replayed.baseline.vector, "outcome")
    assert _labelled(replayed, counts) == oracle["n_labelled"]
    for metric in (*FROM_CONFUSION[replayed.model.task], *LOSSES[replayed.model.task]):
        expected = oracle["cohen_kappa" if metric == "kappa" else metric]
        assert ours[metric] == pytest.approx(expected, rel=1e-9), f"{replayed.name}: {metric}"
    for metric in set(ours) & {"mae", "rmse", "r2", "mean_error", "wape"}:
        assert ours[metric] == pytest.approx(oracle[metric], rel=1e-9, abs=2e-8), f"{replayed.name}: {metric}"
    for metric in set(ours) & {"roc_auc", "roc_auc_ovr_macro", "average_precision"}:
        assert ours[metric] == pytest.approx(oracle[metric], abs=LARGEST[metric]), f"{replayed.name}: {metric}"
