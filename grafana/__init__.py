"""Dashboards as Python; `python -m grafana.build` writes them to `grafana/dashboards/`."""
