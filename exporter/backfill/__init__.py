"""The past as series: the log replayed step by step into an OpenMetrics file with timestamps."""
