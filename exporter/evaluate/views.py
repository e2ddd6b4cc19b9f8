"""What is evaluated, and what an evaluation returns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from exporter.baseline import Baseline
from exporter.profile.packed import Profile, empty, first, put
from exporter.readings import Readings
from exporter.segments import ALL
from exporter.settings import Model


class Mature(NamedTuple):
    """The newest window of the same length whose rows are all old enough for their labels; fields as in View."""

    start: int
    end: int
    vector: Profile
    slices: Mapping[str, Profile] = {}


class View(NamedTuple):
    """One window of one version: event time in seconds, start <= time < end, and the dense profile of its rows.

    slices: the same of each segment's rows. earlier: moving baseline (`previous`, `week_ago`) -> profile of that
    window, for those that have rows. mature: the rows that performance is judged on; None: the window's own.
    """

    version: str
    window: str
    start: int
    end: int
    vector: Profile
    slices: Mapping[str, Profile] = {}
    earlier: Mapping[str, Profile] = {}
    mature: Mature | None = None


class Slice(NamedTuple):
    """A segment's rows, in the reference and in the window; the segment `all` is the whole."""

    segment: str
    reference: Profile
    current: Profile


class Found(NamedTuple):
    """What a task found: readings, the state of each (version, window), and columns that could not be judged."""

    readings: Readings
    states: dict[tuple[str, str], str]
    failed: dict[str, str]
    dropped: int = 0


def of_labels(view: View) -> View:
    """Return the window whose labels count: the newest one of this length that is old enough."""
    if view.mature is None:
        return view
    start, end, vector, own = view.mature
    return View(view.version, view.window, start, end, vector, own)


def with_mature_labels(baseline: Baseline, view: View) -> Profile:
    """Return the window's profile with the labels of those rows whose labels count, not of its own."""
    if view.mature is None:
        return view.vector
    vector = view.vector.copy()
    for part in ("label", "outcome"):
        start, _ = baseline.bins.span(part)
        put(vector, start, baseline.bins.part(view.mature.vector, part))
    return vector


def slices(baseline: Baseline, view: View) -> Iterator[Slice]:
    """Return the whole, then each segment that the reference or the window has rows of."""
    yield Slice(ALL, baseline.vector, view.vector)
    for segment in baseline.segments.names:
        current = view.slices.get(segment)
        if segment in baseline.slices or (current is not None and first(current)):
            now = empty(baseline.bins.size) if current is None else current
            yield Slice(segment, baseline.slice(segment), now)


def rows(model: Model, baseline: Baseline, views: Iterable[View]) -> Readings:
    """Return what the windows are made of."""
    out = Readings()
    bins = baseline.bins
    for view in views:
        labels = (model.name, view.version, view.window)
        for segment, reference, current in slices(baseline, view):
            out.put("model_window_rows", *labels, segment, "current", value=int(bins.part(current, "rows")[0]))
            out.put("model_window_rows", *labels, segment, "reference", value=int(bins.part(reference, "rows")[0]))
        if model.columns.label is not None:
            for segment, _, current in slices(baseline, of_labels(view)):
                out.put("model_window_rows", *labels, segment, "labelled", value=bins.labelled_rows(current))
                if bins.weight is not None:
                    out.put("model_window_rows", *labels, segment, "effective", value=bins.effective_rows(current))
        out.put("model_window_start_timestamp_seconds", *labels, value=view.start)
        out.put("model_window_end_timestamp_seconds", *labels, value=view.end)
    return out
