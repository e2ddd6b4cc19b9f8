"""W3: six metrics of a classifier, 1,000,000 rows; then an hour more, over the last 24 hours and 7 days.

usage: python -m bench.w3 [--rounds N]

scikit-learn: accuracy, precision, recall, F1, AUC, log loss of rows in memory. exporter: rows in memory to counts to
the same six; an hour: new counts in, old ones out of the window's sum, and the six of it. AUC comes with the bound that
follows from its cells. Both get the same arrays, labels as float64, as the exporter's reader has them: scikit-learn is
slower with the whole numbers of the file.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.speed import machine, options, ratio, report, side_by_side, table
from bench.speed_data import folder, make

SIX = ("accuracy", "precision", "recall", "f1", "roc_auc", "log_loss")
WINDOWS = {"24h": 24, "7d": 168}
HOURS = 720
_TICKS = 100  # hours by which the window slides


def _rows() -> dict[str, Any]:
    import pyarrow.parquet as pq

    found = pq.ParquetFile(folder() / "scored.parquet").read()
    return {name: found[name].to_numpy().astype(np.float64) for name in ("label", "score", "said")}


def _timed(work: Callable[[], Any], times: int) -> tuple[float, float]:
    """Return median ms of the clock, and of the processors."""
    spent = []
    for _ in range(times):
        started = time.perf_counter(), time.process_time()
        work()
        spent.append((time.perf_counter() - started[0], time.process_time() - started[1]))
    clock, busy = (statistics.median(own) * 1e3 for own in zip(*spent, strict=True))
    return clock, busy


def sklearn() -> None:
    """Compute the six of rows."""
    from sklearn import metrics as m

    rows = _rows()

    def six(first: int, last: int) -> list[float]:
        y, p, said = (rows[name][first:last] for name in ("label", "score", "said"))
        plain = (m.accuracy_score, m.precision_score, m.recall_score, m.f1_score)
        return [*(float(one(y, said)) for one in plain), float(m.roc_auc_score(y, p)), float(m.log_loss(y, p))]

    hour = len(rows["label"]) // HOURS
    ticks = {window: _timed(lambda n=n: six(0, n * hour), 3) for window, n in WINDOWS.items()}
    report(whole=_timed(lambda: six(0, len(rows["label"])), 3), values=six(0, len(rows["label"])), **ticks)


def exporter() -> None:
    """Count rows as the ledger does, and read the six from the counts."""
    from exporter.performance.metrics import scores
    from exporter.profile import numeric
    from exporter.profile.counts import add_into, negative
    from exporter.profile.labelled import count_classes
    from exporter.profile.outcome import ClassBins, Outcomes, read_classes
    from exporter.profile.tally import Cut

    rows = _rows()
    reference = np.random.default_rng(9).choice(rows["score"], 100_000)
    bins = ClassBins(("0", "1"), (numeric.beyond(numeric.fit(reference, 4096)),))

    def counted(first: int, last: int) -> Any:
        own = Outcomes(rows["said"][first:last], rows["label"][first:last], rows["score"][first:last, None])
        return count_classes(bins, own, Cut(None, np.array([0, last - first])))[0]

    def dense(counts: Any) -> Any:
        vector = np.zeros(bins.size, np.int64)
        add_into(vector, counts)
        return vector

    def six(vector: Any) -> list[float]:
        return [
            float(value)
            for value in scores("binary", read_classes(bins, vector), SIX, True).values()
            if value is not None
        ]

    whole, hour = len(rows["label"]), len(rows["label"]) // HOURS
    ticks = {}
    for window, hours in WINDOWS.items():
        held = [counted(number * hour, (number + 1) * hour) for number in range(hours + _TICKS)]
        vector = dense(counted(0, hours * hour))
        moves = iter(list(zip(held[hours:], held, strict=False)))

        def tick(moves: Any = moves, vector: Any = vector) -> None:
            new, old = next(moves)
            add_into(vector, new)
            add_into(vector, negative(old))
            six(vector)

        ticks[window] = _timed(tick, _TICKS)
    vector = dense(counted(0, whole))
    cells = read_classes(bins, vector).scores[0]
    positive, negatives = (side / max(side.sum(), 1) for side in (cells.positive, cells.negative))
    bound = float((positive * negatives)[::2].sum()) / 2
    report(whole=_timed(lambda: six(dense(counted(0, whole))), 7), values=six(vector), bound=bound, **ticks)


def measure() -> None:
    """Run both in turn and print the table."""
    chosen = options(__doc__, 5)
    make()
    own = [sys.executable, "-m", "bench.w3", "--as"]
    found = side_by_side({name: [*own, name] for name in ("scikit-learn", "exporter")}, chosen.rounds)
    print(f"{machine()}\n")
    lines = []
    for key, named in (("whole", "1,000,000 rows"), ("24h", "an hour, 24 h"), ("7d", "an hour, 7 d")):
        both = [[one.said[key] for one in found[name]] for name in ("scikit-learn", "exporter")]
        (theirs, theirs_busy), (ours, ours_busy) = (list(zip(*own, strict=True)) for own in both)
        medians = [statistics.median(one) for one in (theirs, ours, theirs_busy, ours_busy)]
        lines.append([named, *medians, ratio(theirs, ours), ratio(theirs_busy, ours_busy)])
    heads = ("what", "scikit-learn ms", "exporter ms", "scikit-learn CPU ms", "exporter CPU ms", "ratio", "CPU ratio")
    table(heads, lines)
    theirs, ours = (found[name][0].said["values"] for name in ("scikit-learn", "exporter"))
    errors = {name: abs(a - b) for name, a, b in zip(SIX, theirs, ours, strict=True)}
    print(f"AUC: off by {errors.pop('roc_auc'):.1e}, certified {found['exporter'][0].said['bound']:.1e}")
    print(f"others: off by at most {max(errors.values()):.1e}")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--as", "scikit-learn"]:
            sklearn()
        case ["--as", "exporter"]:
            exporter()
        case _:
            measure()
