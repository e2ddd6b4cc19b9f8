"""What is in a model's rows: kinds, classes, and what cannot serve, in a sentence."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from exporter.schema import SchemaError, from_json, infer, roles, to_json
from tests.unit.helpers.profiles import settings, table

NAN = float("nan")


def reference(**columns) -> pa.Table:
    """Return four rows of a binary model with the given columns beside."""
    base = {
        "id": ["1", "2", "3", "4"],
        "time": [1, 2, 3, 4],
        "prediction": [0, 1, 0, 1],
        "score": [0.1, 0.9, 0.2, 0.8],
        "label": [0, 1, None, 1],
    }
    return table(**{**base, **columns})


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        pytest.param([1, 2, 3, 4], "numeric", id="integers"),
        pytest.param([0.5, 1.5, 2.5, None], "numeric", id="floats"),
        pytest.param(np.array([0.5, 1.5, 2.5, 0.5], np.float16), "numeric", id="float16"),
        pytest.param([0, 1, 0, 1], "categorical", id="two integers"),
        pytest.param([0, 1, None, 1], "categorical", id="two integers and null"),
        pytest.param([0.0, 1.0, 0.0, 1.0], "categorical", id="two floats"),
        pytest.param([7, 7, 7, 7], "numeric", id="constant"),
        pytest.param([7, 7, 7, None], "numeric", id="constant and null"),
        pytest.param(["a", "b", "c", "d"], "categorical", id="text"),
        pytest.param(["1", "2", "3", "4"], "categorical", id="numbers in text"),
        pytest.param([True, False, True, True], "categorical", id="booleans"),
        pytest.param(pa.array(["a", "b", "c", "a"]).dictionary_encode(), "categorical", id="dictionary"),
    ],
)
def test_the_kind_follows_from_the_type_and_the_values(values, kind):
    assert infer(settings(), reference(x=values)).features == {"x": kind}


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        pytest.param([0.0, NAN, 1.0, 0.0], "categorical", id="two values and NaN"),
        pytest.param([5.0, NAN, NAN, 5.0], "numeric", id="constant and NaN"),
    ],
)
def test_nan_is_no_value(values, kind):
    """A file that was not written by pandas may have NaN where others have null."""
    rows = reference().append_column("x", pa.array(np.array(values)))
    assert rows["x"].null_count == 0
    assert infer(settings(), rows).features == {"x": kind}


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        pytest.param(pa.array([None] * 4, pa.float64()), "the reference has no value in it", id="null numbers"),
        pytest.param(pa.array([None] * 4, pa.string()), "the reference has no value in it", id="null text"),
        pytest.param([[1], [2], [3], [4]], "list<item: int64> is neither a number nor a category", id="lists"),
    ],
)
def test_a_column_that_cannot_be_monitored_is_skipped_with_its_reason(values, reason):
    schema = infer(settings(), reference(x=values, y=[1, 2, 3, 4]))
    assert schema.features == {"y": "numeric"}
    assert schema.skipped == {"x": reason}


SENTENCE = [f"row {number} is fine" for number in range(200)]


def long_reference(count: int, **columns) -> pa.Table:
    """Return rows of a binary model with the given columns of `count` rows beside."""
    rows = pa.concat_tables([reference()] * (count // 4))
    for name, values in columns.items():
        rows = rows.append_column(name, pa.array(values))
    return rows


@pytest.mark.parametrize(
    ("values", "features"),
    [
        pytest.param(SENTENCE, ["x.length", "x.unknown_words"], id="sentences"),
        pytest.param([*SENTENCE[:101], *[SENTENCE[0]] * 99], ["x.length", "x.unknown_words"], id="half repeats"),
        pytest.param([*SENTENCE[:100], *[SENTENCE[0]] * 100], ["x"], id="more than half repeats"),
        pytest.param([*SENTENCE[:120], *[None] * 80], ["x.length", "x.unknown_words"], id="with nulls"),
        pytest.param(pa.array(SENTENCE).dictionary_encode(), ["x"], id="a dictionary is of categories"),
        pytest.param([f"id-{number:04d}-a-b-c" for number in range(200)], ["x"], id="ids"),
        pytest.param([f"2026-01-01 10:{n // 60:02d}:{n % 60:02d} UTC" for n in range(200)], ["x"], id="times"),
        pytest.param([f"name {number}" for number in range(200)], ["x"], id="two words"),
        pytest.param([[1.0, n, n * n] for n in range(200)], ["x.norm", "x.distance", "x.1", "x.2"], id="vectors"),
        pytest.param([f"[{n}, 1]" for n in range(200)], ["x.norm", "x.distance", "x.1"], id="vectors in text"),
        pytest.param([f"[{n}, 1" for n in range(200)], ["x"], id="no JSON"),
    ],
)
def test_text_and_vectors_are_features_by_what_is_derived(values, features):
    schema = infer(settings(), long_reference(200, x=values))
    assert schema.features == {name: "categorical" if features == ["x"] else "numeric" for name in features}
    assert from_json(to_json(schema)) == schema


@pytest.mark.parametrize(
    "values",
    [
        pytest.param([[1.0, 2.0], [1.0], [1.0, 2.0], [3.0]], id="several lengths"),
        pytest.param([["a", "b"]] * 4, id="lists of text"),
    ],
)
def test_other_lists_are_skipped(values):
    schema = infer(settings(), reference(x=values, y=[1, 2, 3, 4]))
    assert schema.features == {"y": "numeric"}
    assert "is neither a number nor a category" in schema.skipped["x"]


def test_a_named_embedding_has_the_commonest_length():
    model = settings(columns={"features": {"x": "embedding", "y": "embedding", "z": "text"}})
    rows = reference(x=[[1.0, 2.0], [1.0], [1.0, 3.0], None], y=[1, 2, 3, 4], z=["a", "b", "a", None])
    schema = infer(model, rows)
    assert list(schema.features) == ["x.norm", "x.distance", "z.length", "z.unknown_words"]
    assert schema.skipped == {"y": "the reference has no list of numbers in it"}


def test_a_derived_name_that_is_taken_is_refused_in_a_sentence():
    model = settings(columns={"features": {"x": "text"}})
    with pytest.raises(SchemaError) as error:
        infer(model, reference(x=[*"abcd"], **{"x.length": [1, 2, 3, 4]}))
    assert str(error.value) == (
        "the name 'x.length', derived from column 'x', is also that of a column: rename one of them"
    )


def test_a_schema_from_before_derived_features_is_read():
    plain = to_json(infer(settings(), reference(x=[1, 2, 3, 4])))
    del plain["derived"]
    assert from_json(plain).derived == {}


def test_columns_with_a_part_of_their_own_are_no_features():
    columns = {"ignore": ["noise"], "latency": {"column": "ms", "unit": "ms"}, "error": "broke"}
    model = settings(columns=columns, version={"column": "release"})
    assert roles(model.columns) == {
        *("id", "time", "prediction", "score", "label", "label_time", "noise", "ms", "broke"),
    }
    more = {name: [1, 2, 3, 4] for name in ("noise", "ms", "broke", "release", "x")}
    assert infer(model, reference(**more)).features == {"x": "numeric"}


def test_named_features_are_those_and_have_the_named_kind():
    columns = {"features": {"x": "categorical", "y": {}, "label": "numeric"}}
    schema = infer(settings(columns=columns), reference(x=[1, 2, 3, 4], y=[1, 2, 3, 4], z=[1, 2, 3, 4]))
    assert schema.features == {"x": "categorical", "y": "numeric", "label": "numeric"}


def test_text_columns_are_remembered_for_files_that_have_no_types():
    assert infer(settings(), reference(x=["007", "008", "009", "010"])).text == ("id", "x")


@pytest.mark.parametrize(
    ("changes", "rows", "message"),
    [
        pytest.param({}, {"prediction": None}, "no column 'prediction'; it has id, time", id="no prediction"),
        pytest.param({}, {"score": None}, "no column 'score'", id="no score"),
        pytest.param({"columns": {"features": ["x"]}}, {}, "no column 'x'", id="no such feature"),
        pytest.param(
            {"columns": {"positive_class": "yes"}},
            {},
            "columns.positive_class is 'yes', which the reference never has; it has 0, 1",
            id="positive class is none of two",
        ),
        pytest.param(
            {"columns": {"positive_class": "yes"}},
            {"prediction": [0, 0, 0, 0], "label": [0, 0, 0, 0]},
            "columns.positive_class is 'yes', which the reference never has; it has 0",
            id="positive class never seen",
        ),
        pytest.param(
            {}, {"label": [0, 1, 2, 1]}, "a binary model has two classes, the reference has 0, 1, 2", id="three classes"
        ),
        pytest.param(
            {"task": "multiclass"},
            {"prediction": [*"abcd"], "score_a": [1] * 4, "score_b": [1] * 4, "score_c": [1] * 4, "label": [*"abcd"]},
            "class 'd' of the reference has no column in columns.score: add it",
            id="class without score",
        ),
    ],
)
def test_a_reference_that_does_not_fit_is_refused_in_a_sentence(changes, rows, message):
    given = {name: values for name, values in rows.items() if values is not None}
    lost = [name for name, values in rows.items() if values is None]
    with pytest.raises(SchemaError) as error:
        infer(settings(**changes), reference(**given).drop_columns(lost))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("rows", "classes"),
    [
        ({}, ("0", "1")),
        ({"prediction": [True, False] * 2, "label": [None] * 4}, ("0", "1")),
        ({"prediction": [1, 1, 1, 1], "label": [1, 1, 1, 1]}, ("not 1", "1")),
    ],
)
def test_the_positive_class_is_the_last_of_two(rows, classes):
    assert infer(settings(), reference(**rows)).classes == classes


def test_the_classes_of_a_multiclass_model_are_those_of_its_scores():
    rows = {f"score_{name}": [0.1, 0.2, 0.3, 0.4] for name in "abc"} | {"prediction": [*"abba"], "label": [*"abba"]}
    schema = infer(settings("multiclass"), reference(**rows))
    assert schema.classes == ("a", "b", "c")
    assert schema.scores == ("score_a", "score_b", "score_c")


def test_the_scores_follow_the_order_of_the_classes():
    score = {"c": "p3", "a": "p1", "b": "p2"}
    rows = {name: [0.1, 0.2, 0.3, 0.4] for name in ("p1", "p2", "p3")} | {"prediction": [*"abba"], "label": [*"abba"]}
    schema = infer(settings("multiclass", columns={"score": score}), reference(**rows))
    assert schema.scores == ("p1", "p2", "p3")


def test_without_scores_the_classes_are_those_seen():
    model = settings("multiclass", columns={"score": None})
    schema = infer(model, reference(prediction=[*"abba"], label=["d", None, "a", "b"]))
    assert (schema.classes, schema.scores) == (("a", "b", "d"), ())


def test_a_regression_has_no_classes():
    rows = reference(prediction=[1.5, 2.5, 3.5, 4.5], label=[1.0, 2.0, None, 4.0])
    schema = infer(settings("regression"), rows)
    assert schema.classes == ()
    assert schema.features == {"score": "numeric"}


def test_what_was_written_is_read_again():
    schema = infer(settings(), reference(x=[1, 2, 3, 4], y=[*"abcd"], z=[[1]] * 4))
    assert from_json(to_json(schema)) == schema
