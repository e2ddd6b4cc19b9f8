"""Alertmanager's webhook, version 4, as it is sent and as it is not."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.retrain.alerts import Alert, NotificationError, read

# As a real Alertmanager 0.28 sends it.
SENT = {
    "receiver": "retrain",
    "status": "firing",
    "alerts": [
        {
            "status": "firing",
            "labels": {"alertname": "ModelPerformanceLow", "model": "flights", "severity": "critical"},
            "annotations": {"summary": "Performance is low."},
            "startsAt": "2026-03-01T12:00:00.123456789Z",
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "http://prometheus:9090/graph",
            "fingerprint": "c1d2e3f4a5b6c7d8",
        },
        {
            "status": "resolved",
            "labels": {"alertname": "ModelPerformanceLow", "model": "bikes"},
            "annotations": {},
            "startsAt": "2026-03-01T14:00:00+02:00",
            "endsAt": "2026-03-01T12:30:00Z",
            "fingerprint": "aaaa",
        },
        {"status": "firing", "labels": {"alertname": "Watchdog"}, "startsAt": "2026-03-01T12:00:00Z"},
    ],
    "groupLabels": {"model": "flights"},
    "commonLabels": {},
    "commonAnnotations": {},
    "externalURL": "http://alertmanager:9093",
    "version": "4",
    "groupKey": '{}:{model="flights"}',
    "truncatedAlerts": 0,
}


def test_a_notification_is_read() -> None:
    """Firing and resolved, nanoseconds and other zones; what is of no model is nobody's business here."""
    firing, resolved = read(SENT)
    at = 1_772_366_400_000_000
    assert firing == Alert(
        "c1d2e3f4a5b6c7d8",
        "ModelPerformanceLow",
        "flights",
        at + 123_456,
        None,
        {"alertname": "ModelPerformanceLow", "model": "flights", "severity": "critical"},
        "Performance is low.",
    )
    assert (resolved.starts, resolved.ends, resolved.summary) == (at, at + 1_800_000_000, "")


def test_without_a_fingerprint_the_labels_make_one() -> None:
    """The same for the same labels in any order."""
    first = {
        "labels": {"alertname": "A", "model": "m", "x": "1"},
        "status": "firing",
        "startsAt": "2026-03-01T12:00:00Z",
    }
    second = first | {"labels": dict(reversed(first["labels"].items()))}  # type: ignore[attr-defined]
    other = first | {"labels": {"alertname": "A", "model": "m", "x": "2"}}
    a, b, c = read({"version": "4", "alerts": [first, second, other]})
    assert a.fingerprint == b.fingerprint != c.fingerprint


def changed(**more: Any) -> Any:
    return {"version": "4", "alerts": [SENT["alerts"][0] | more]}  # type: ignore[operator,index]


@pytest.mark.parametrize(
    ("payload", "sentence"),
    [
        ([], "a notification of Alertmanager's webhook is expected"),
        ({"version": "4"}, "a notification of Alertmanager's webhook is expected"),
        ({"version": "5", "alerts": []}, "version 4 of Alertmanager's webhook is expected, not '5'"),
        ({"alerts": []}, "version 4 of Alertmanager's webhook is expected, not None"),
        ({"version": "4", "alerts": ["x"]}, "alerts[0]: labels, a mapping of text, are expected"),
        (changed(labels={"a": 1}), "alerts[0]: labels, a mapping of text, are expected"),
        (changed(status="burning"), "alerts[0]: status firing or resolved is expected, not 'burning'"),
        (changed(startsAt=None), "alerts[0]: startsAt is no time with its zone: None"),
        (changed(startsAt="2026-03-01T12:00:00"), "alerts[0]: startsAt is no time with its zone"),
        (changed(status="resolved", endsAt="yesterday"), "alerts[0]: endsAt is no time with its zone: 'yesterday'"),
    ],
)
def test_what_is_no_notification(payload: Any, sentence: str) -> None:
    """One sentence, with the place."""
    with pytest.raises(NotificationError) as error:
        read(payload)
    assert str(error.value).startswith(sentence)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["alerts", "version", "labels", "status", "startsAt", "endsAt", "annotations", "model"]),
            inner,
        )
    ),
    max_leaves=12,
)


@given(plain)
def test_anything_is_read_or_refused(payload: Any) -> None:
    """In a sentence; nothing else is raised."""
    sent = (
        {"version": "4", "alerts": [payload]} if not isinstance(payload, list) else {"version": "4", "alerts": payload}
    )
    for one in (payload, sent):
        with contextlib.suppress(NotificationError):
            assert json.dumps([alert.starts for alert in read(one)])
