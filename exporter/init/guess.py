"""Which column plays which part, and why it is thought so. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from exporter.init.columns import Column, first, look
from exporter.rows import NO_TIME, SECOND, categorical, numeric, times

TIMES = ("timestamp", "event_time", "event_timestamp", "time", "ts", "datetime", "created_at", "date", "at")
IDS = ("request_id", "prediction_id", "id", "uuid", "key")
PREDICTIONS = ("prediction", "predicted", "y_pred", "pred", "predicted_label", "predicted_class", "output", "yhat")
LABELS = ("label", "target", "y_true", "y", "actual", "ground_truth", "truth", "outcome", "observed")
SCORES = ("prediction_proba", "proba", "probability", "score", "confidence", "prob")
POSITIVE = ("1", "true", "yes", "y", "positive", "bad", "fraud", "default", "churn", "late", "spam", "failed")
SLICES = ("country", "region", "segment", "channel", "plan", "site", "market", "platform", "device", "tenant")
UNITS = {"us": "us", "ms": "ms", "millis": "ms", "milliseconds": "ms", "s": "s", "sec": "s", "seconds": "s"}
WINDOWS = {"24h": 1, "7d": 7, "28d": 28, "84d": 84}
_ROWS = 250  # a window has at least as many: 200 are needed, and days differ


class Said(NamedTuple):
    """A value of the configuration, why, and whether a person should look at it."""

    value: Any
    why: str
    unsure: bool = False


class Guess(NamedTuple):
    """What goes into the configuration; features: name -> type; left_out: column -> why it is no feature."""

    task: Said
    version: Said | None
    columns: dict[str, Said]
    features: dict[str, Said]
    left_out: dict[str, str]
    windows: Said
    notes: tuple[str, ...]


def guess(reference: pa.Table, predictions: pa.Table, labels: pa.Table | None) -> Guess:
    """Return what the files seem to be. Raises ValueError with one sentence where a needed part is not found."""
    before, log = look(reference), look(predictions)
    late = look(labels) if labels is not None else None
    notes: list[str] = []
    found: dict[str, Said] = {}
    key = _id(log, late)
    if key is not None:
        found["id"] = key
    found["timestamp"] = _timestamp(log)
    taken = {said.value for said in found.values()}
    found |= _label(before, log, late, taken)
    taken = {said.value for said in found.values()}
    prediction = _prediction(before, log, found, taken)
    found["prediction"] = prediction
    label = found.get("label")
    task = _task(before[prediction.value], before.get(label.value) if label else None)
    found |= _scores(task.value, before, reference, prediction.value, label.value if label else None, notes)
    found |= _serving(before, log)
    outcomes = _outcomes(log, late, found)
    if outcomes:
        found["outcomes"] = Said(outcomes, "beside the label, and not in the log")
    version = _version(before, log)
    used = _names(found) | ({version.value["column"]} if version else set())
    features, left_out = _features(before, log, used)
    if label is not None and label.value not in before:
        notes.append(f"The reference has no column {label.value}: there is no baseline of performance.")
    if not features:
        raise ValueError("no column of the reference is left to be a feature: is it the right file?")
    slices = [name for name, said in features.items() if before[name].few and before[name].named(*SLICES)]
    if slices:
        count = len(before[slices[0]].distinct)
        found["segments"] = Said(slices[:1], f"each of its {count} values is judged alone, too")
    windows = _windows(predictions, found["timestamp"].value, notes)
    return Guess(task, version, found, features, left_out, windows, tuple(notes))


def _names(found: Mapping[str, Said]) -> set[str]:
    names: set[str] = set()
    for part, said in found.items():
        if part == "positive_class":
            continue
        value = said.value
        if isinstance(value, dict):
            names |= {value["column"]} if part == "latency" else set(value.values())
        else:
            names |= set(value) if isinstance(value, list) else {value}
    return names


def _id(log: Mapping[str, Column], late: Mapping[str, Column] | None) -> Said | None:
    """Return what joins labels to predictions: a column of both that is unique in the log."""
    unique = [one for one in log.values() if one.unique and not one.is_time and not one.is_list]
    unique = [one for one in unique if not (one.is_number and not one.is_whole)]
    if late is not None:
        both = [one for one in unique if one.name in late]
        if not both:
            raise ValueError(
                "labels and predictions have no column in common whose values are unique: an id must join them; "
                f"the predictions have {', '.join(log)}; the labels have {', '.join(late)}"
            )
        chosen = first(both, *IDS) or both[0]
        return Said(chosen.name, "unique in the predictions, and in the labels, too", chosen.name not in IDS)
    named = first([one for one in unique if one.is_text or one.is_whole], *IDS)
    return Said(named.name, "unique in the predictions; rows that come twice count once") if named else None


def _timestamp(log: Mapping[str, Column]) -> Said:
    found = [one for one in log.values() if one.is_time and not one.named("label")]
    if not found:
        raise ValueError(
            f"no column of the predictions holds times: an event time is needed; there are {', '.join(log)}"
        )
    chosen = first(found, *TIMES) or found[0]
    others = [one.name for one in found if one is not chosen]
    more = f"; {', '.join(others)} could be, too" if others else ""
    return Said(chosen.name, f"holds times{more}", bool(others))


def _label(
    before: Mapping[str, Column], log: Mapping[str, Column], late: Mapping[str, Column] | None, taken: set[str]
) -> dict[str, Said]:
    where = late if late is not None else {**before, **log}
    left = [one for one in where.values() if one.name not in taken]
    moments = [one for one in left if one.is_time]
    values = [one for one in left if not one.is_time and not one.is_list]
    chosen = first(values, *LABELS)
    if late is None and (chosen is None or chosen.name.lower() not in LABELS):
        return {}
    if late is not None and chosen is None:
        known = [one for one in values if one.name in before]
        if len(known or values) != 1:
            raise ValueError(
                "no column of the labels is called label, target, y_true or the like, and more than one could be: "
                f"{', '.join(one.name for one in values) or 'none'}; rename the column of the labels"
            )
        chosen = (known or values)[0]
    assert chosen is not None
    by_name = chosen.name.lower() in LABELS
    found = {"label": Said(chosen.name, "by its name" if by_name else "the only one that can be", not by_name)}
    when = first(moments, "label_timestamp", "label_time", "labelled_at", "label", "known_at", *TIMES)
    if when is not None and (late is not None or when.named("label", "labelled", "known")):
        found["label_timestamp"] = Said(when.name, "when the label became known")
    return found


def _prediction(
    before: Mapping[str, Column], log: Mapping[str, Column], found: Mapping[str, Said], taken: set[str]
) -> Said:
    both = [one for one in log.values() if one.name in before and one.name not in taken and not one.is_time]
    chosen = first([one for one in both if not (one.is_share and one.named(*SCORES))], *PREDICTIONS)
    if chosen is None:
        raise ValueError(
            "no column of predictions and reference is called prediction, predicted, y_pred or the like; "
            f"both have {', '.join(one.name for one in both) or 'none'}: log the model's decision beside its features"
        )
    label = before.get(found["label"].value) if "label" in found else None
    if before[chosen.name].is_share and label is not None and label.few:
        raise ValueError(
            f"column {chosen.name} is a probability, but the label has {len(label.distinct)} classes: "
            "log the class that the model decided for, too"
        )
    return Said(chosen.name, "by its name", chosen.name.lower() not in PREDICTIONS)


def _task(prediction: Column, label: Column | None) -> Said:
    classes = tuple(sorted({*prediction.distinct, *(label.distinct if label else ())}))
    whole = prediction.is_whole and (label is None or label.is_whole)
    if prediction.is_number and not (prediction.few and whole and len(classes) <= 10):
        return Said("regression", f"{prediction.name} is a number with many values")
    if len(classes) > 2:
        unsure = prediction.is_number
        more = "; if these are amounts, it is regression" if unsure else ""
        return Said("multiclass", f"{len(classes)} classes: {', '.join(classes[:6])}{more}", unsure)
    if len(classes) < 2:
        raise ValueError(f"column {prediction.name} has one value only in the reference: nothing to monitor")
    return Said("binary", f"two classes: {', '.join(classes)}")


def _scores(
    task: str, before: Mapping[str, Column], reference: pa.Table, prediction: str, label: str | None, notes: list[str]
) -> dict[str, Said]:
    if task == "regression":
        return {}
    shares = [one for one in before.values() if one.is_share and one.name not in {prediction, label}]
    known = {*before[prediction].distinct, *(before[label].distinct if label in before else ())}  # type: ignore[index]
    classes = sorted(known)
    if task == "multiclass":
        by_class = {own: _of_class(shares, own) for own in classes}
        if all(by_class.values()):
            return {"score": Said(by_class, "a probability of each class, by the names")}
        notes.append("No probability of each class was found: log loss, ROC AUC and estimates are not computed.")
        return {}
    score = first([one for one in shares if one.named(*SCORES) or "proba" in one.name.lower()], *SCORES)
    score = score or next((one for one in shares if "proba" in one.name.lower()), None)
    positive, why, unsure = _positive(classes, reference, prediction, score)
    found = {"positive_class": Said(positive, why, unsure)}
    if score is None:
        notes.append("No column with a probability was found: ROC AUC, log loss and estimates are not computed.")
        return found
    return {"score": Said(score.name, f"within 0 and 1: the probability of class {positive}"), **found}


def _of_class(shares: Iterable[Column], name: str) -> str | None:
    own = [one.name for one in shares if one.name == name or one.name.lower().endswith(f"_{name.lower()}")]
    return own[0] if own else None


def _positive(classes: list[str], reference: pa.Table, prediction: str, score: Column | None) -> tuple[str, str, bool]:
    """Return the class of which the score is the probability; without one by its name, else the rarer one."""
    decided = np.array(categorical(reference[prediction]).texts(), object)
    if score is not None:
        values = numeric(reference[score.name]).values
        mean = {own: float(np.nanmean(values[decided == own])) for own in classes if (decided == own).any()}
        chosen = max(mean, key=lambda own: mean[own])
        return chosen, f"rows predicted {chosen} have the higher {score.name}", False
    named = [own for own in classes if own.lower() in POSITIVE]
    if len(named) == 1:
        return named[0], "by its name", False
    rarer = min(classes, key=lambda own: int((decided == own).sum()))
    return rarer, "the rarer one", True


def _serving(before: Mapping[str, Column], log: Mapping[str, Column]) -> dict[str, Said]:
    found: dict[str, Said] = {}
    own = [one for one in log.values() if one.name not in before]
    latency = first([one for one in own if one.is_number], "latency", "latency_ms", "duration", "elapsed")
    if latency is not None and bool((latency.numbers >= 0).all()):
        unit = next((UNITS[word] for word in latency.words if word in UNITS), None)
        median = float(np.median(latency.numbers)) if len(latency.numbers) else 0.0
        chosen = unit or ("ms" if median > 1 else "s")
        why = "unit by its name" if unit else f"unit by its median of {median:.3g}"
        found["latency"] = Said({"column": latency.name, "unit": chosen}, f"time of a request; {why}", unit is None)
    flags = [one for one in own if set(one.distinct) <= {"0", "1", "true", "false", "True", "False"}]
    error = first(flags, "error", "failed", "is_error", "failure")
    if error is not None:
        found["error"] = Said(error.name, "true where the request failed")
    return found


def _outcomes(
    log: Mapping[str, Column],
    late: Mapping[str, Column] | None,
    found: Mapping[str, Said],
) -> list[str]:
    """Return what comes with the label and is not in the log."""
    if late is None:
        return []
    taken = _names(found)
    return [one.name for one in late.values() if one.name not in taken and one.name not in log and not one.is_time]


def _version(before: Mapping[str, Column], log: Mapping[str, Column]) -> Said | None:
    named = first([one for one in log.values() if len(one.distinct) <= 20], "model_version", "version")
    if named is None or not named.distinct:
        return None
    return Said({"column": named.name}, f"in the log: {', '.join(named.distinct[:4])}")


def _features(
    before: Mapping[str, Column], log: Mapping[str, Column], used: set[str]
) -> tuple[dict[str, Said], dict[str, str]]:
    features: dict[str, Said] = {}
    left_out: dict[str, str] = {}
    for name, one in before.items():
        if name in used:
            continue
        if name not in log:
            left_out[name] = "not in the log of predictions"
        elif one.is_time:
            left_out[name] = "holds times"
        elif len(one.distinct) < 2:
            left_out[name] = "has one value only in the reference"
        elif one.is_list:
            features[name] = Said("embedding", "lists of numbers")
        elif one.is_number and len(one.distinct) != 2:
            features[name] = Said("numeric", _range(one))
        elif one.is_text and len(one.distinct) > 20 and _is_prose(one):
            features[name] = Said("text", "several words in most values")
        elif one.unique:
            left_out[name] = "every value is another one, as of an id"
        else:
            many = "more than 20" if len(one.distinct) > 20 else str(len(one.distinct))
            features[name] = Said("categorical", f"{many} values")
    return features, left_out


def _range(one: Column) -> str:
    own = one.numbers
    return f"{own.min():.6g} to {own.max():.6g}" if len(own) else "numbers"


def _is_prose(one: Column) -> bool:
    texts = [text for text in one.values.slice(0, 500).to_pylist() if text]
    return sum(len(text.split()) >= 3 for text in texts) > 0.5 * len(texts)


def _windows(predictions: pa.Table, timestamp: str, notes: list[str]) -> Said:
    """Return two windows of which the shorter has enough rows on a usual day of the sample."""
    moments = times(predictions[timestamp], "UTC")
    moments = moments[moments != NO_TIME]
    if not len(moments):
        raise ValueError(f"column {timestamp} of the predictions has no time that can be read")
    a_day = len(moments) / len(np.unique(moments // (86_400 * SECOND)))  # days without rows are left out: of a sample
    names = list(WINDOWS)
    enough = [place for place, length in enumerate(WINDOWS.values()) if length * a_day >= _ROWS]
    place = min(enough[0] if enough else len(names) - 1, len(names) - 2)
    if not enough:
        notes.append(f"The log has about {a_day:.3g} rows a day: even windows of 84d are too short to be judged.")
    return Said(names[place : place + 2], f"about {a_day:,.0f} rows a day in the files that were looked at")
