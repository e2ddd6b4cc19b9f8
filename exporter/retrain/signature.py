"""HMAC-SHA256 over time and body, as a header: `t=1700000000,v1=hex`. Pure."""

from __future__ import annotations

import hashlib
import hmac

HEADER = "X-Model-Exporter-Signature"
TOLERANCE = 300.0


def sign(secret: bytes, body: bytes, now: float) -> str:
    """Return the header's value for a body sent at `now` (Unix seconds)."""
    moment = str(int(now))
    return f"t={moment},v1={_digest(secret, moment, body)}"


def valid(secret: bytes, body: bytes, header: str, now: float) -> bool:
    """Say whether a header was made with the secret, for this body, at most 5 minutes from `now`."""
    parts = [part.partition("=") for part in header.split(",")]
    moments = [value for key, _, value in parts if key.strip() == "t"]
    if len(moments) != 1 or not (moments[0].isascii() and moments[0].isdigit()) or len(moments[0]) > 12:
        return False
    right = _digest(secret, moments[0], body).encode()
    given = [value.strip().encode() for key, _, value in parts if key.strip() == "v1"]
    return abs(now - int(moments[0])) <= TOLERANCE and any(hmac.compare_digest(right, one) for one in given)


def _digest(secret: bytes, moment: str, body: bytes) -> str:
    return hmac.new(secret, moment.encode() + b"." + body, hashlib.sha256).hexdigest()
