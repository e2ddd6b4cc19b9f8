"""How the log is written: text for people, JSON lines for machines."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat()
        line = {
            "ts": moment,
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


class Text(logging.Formatter):
    """One line; a traceback only when debugging."""

    def __init__(self, debug: bool):
        super().__init__("%(asctime)s %(levelname)s %(message)s")
        self._debug = debug

    def format(self, record: logging.LogRecord) -> str:
        if record.exc_info and not self._debug:
            message = f"{record.getMessage()}: {record.exc_info[1]!r}"
            record = logging.LogRecord(record.name, record.levelno, record.pathname, record.lineno, message, (), None)
        return super().format(record)


def configure(level: str, json_lines: bool) -> None:
    """Send messages of this level and above to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if json_lines else Text(level == "debug"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("waitress").setLevel(logging.ERROR)
