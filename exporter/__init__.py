"""Monitor machine-learning models with Prometheus: drift, data quality and performance as gauges."""

__version__ = "0.1.0"
