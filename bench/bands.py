"""The bands of `prometheus/rules/bands.yml` on two real logs: how often a value is outside, and on which days.

The same definition in pandas, hour by hour: the median of the same hour one to four weeks ago, and five times the
median distance from it. Latency was measured on a machine that did other work, so it says what noise does.

    python -m bench.bands
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from exporter.demo import share

WEEK = 168  # hours


def bands(value: pd.Series[float]) -> tuple[pd.Series[float], pd.Series[float]]:
    """Return center and half width of an hourly series; NaN where there is no band."""
    past = pd.concat([value.shift(WEEK * weeks) for weeks in (1, 2, 3, 4)], axis=1)
    center = past.median(axis=1).where(past.notna().sum(axis=1) >= 3)
    distance = (value - center).abs()
    spread = 1.4826 * distance.rolling(4 * WEEK, min_periods=1).median()
    half = np.maximum(5 * spread, 0.05 * center.abs())
    return center, half.where(distance.shift(WEEK).notna())


def tell(name: str, value: pd.Series[float]) -> None:
    """Print the share of hours outside, the alerts in four weeks, and the days."""
    center, half = bands(value)
    judged = half.notna() & value.notna()
    outside = ((value - center).abs() > half) & judged
    alerts = int((outside & ~outside.shift(1, fill_value=False)).sum())
    days = sorted(set(pd.DatetimeIndex(value.index[outside]).strftime("%Y-%m-%d")))
    print(f"{name}: {outside.sum() / judged.sum():.1%} of {judged.sum()} hours outside, ", end="")
    print(f"{alerts / judged.sum() * 4 * WEEK:.1f} alerts in four weeks, on {' '.join(days)}")


def main() -> None:
    """Judge rides and latency of the bikes' log, and the number of flights."""
    folder = share("tests") / "data" / "bikes"
    log, labels = (pq.read_table(folder / f"{name}.parquet").to_pandas() for name in ("predictions", "labels"))
    hours = log.merge(labels, on="request_id").set_index("timestamp").resample("1h")
    tell("rides in 24 h", hours["label"].sum().rolling(24).sum())
    tell("median latency in 24 h", hours["latency_ms"].mean().rolling(24).median())
    files = sorted((share("examples") / "flights" / "predictions").glob("*.parquet"))
    flights = pa.concat_tables([pq.read_table(path, columns=["timestamp"]) for path in files]).to_pandas()
    tell("flights in 24 h", flights.set_index("timestamp").resample("1h").size().astype(float).rolling(24).sum())


if __name__ == "__main__":
    main()
