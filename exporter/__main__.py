"""Run `python -m exporter` as `model-exporter`."""

from exporter.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
