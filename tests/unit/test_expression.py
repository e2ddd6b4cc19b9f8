"""Expressions say of each row what the same words say of it in plain Python; what is not of the language is refused."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from exporter.business.columns import from_plain, plain, read
from exporter.business.expression import ExpressionError, holds, numbers, parse

# --- against SQLite ---------------------------------------------------------------------------------------------------

value = st.one_of(st.none(), st.integers(-3, 3).map(float), st.sampled_from([0.5, 1e6, -0.25]))
word = st.one_of(st.none(), st.sampled_from(["red", "green", "it's"]))
table = st.lists(st.tuples(value, value, word, word), min_size=1, max_size=8)
literal = st.sampled_from(["0", "1", "-2", "0.5", "3", "null"])
text = st.sampled_from(["'red'", "'it''s'", "s", "t", "coalesce(s, 'none')"])


@st.composite
def a_number(draw: Any, depth: int = 2) -> str:
    """Return an expression that is a number."""
    if not depth or draw(st.booleans()):
        return draw(st.one_of(st.sampled_from(["x", "y"]), literal))
    inner = a_number(depth - 1)
    form = draw(
        st.sampled_from(["({} + {})", "({} - {})", "{} * {}", "1.0 * {} / {}", "coalesce({}, {})", "nullif({}, {})"])
    )
    made = form.format(draw(inner), draw(inner))
    return draw(
        st.sampled_from(
            [made, f"abs({made})", f"-({made})", f"case when {draw(a_truth(depth - 1))} then {made} else x end"]
        )
    )


@st.composite
def a_truth(draw: Any, depth: int = 2) -> str:
    """Return an expression that is a truth value."""
    number, truth = a_number(max(depth - 1, 0)), None
    forms = [
        "{0} {op} {1}",
        "{0} between {1} and {2}",
        "{0} in ({1}, {2})",
        "{0} not in ({1})",
        "{0} is null",
        "{0} is not null",
    ]
    made = draw(st.sampled_from(forms)).format(
        *(draw(number) for _ in range(3)), op=draw(st.sampled_from(["=", "<>", "<", "<=", ">", ">="]))
    )
    if draw(st.booleans()):
        made = f"{draw(text)} {draw(st.sampled_from(['=', '<>', '<', '>=']))} {draw(text)}"
    if depth:
        truth = a_truth(depth - 1)
        made = draw(st.sampled_from(["{0} and {1}", "({0} or {1})", "not ({0})", "{0}"])).format(made, draw(truth))
    return made


def by_sqlite(rows: list[tuple[Any, ...]], expression: str) -> list[float]:
    with sqlite3.connect(":memory:") as db:
        db.execute("create table rows (x real, y real, s text, t text)")
        db.executemany("insert into rows values (?, ?, ?, ?)", rows)
        found = [row[0] for row in db.execute(f"select {expression} from rows order by rowid")]
    return [np.nan if one is None else float(one) for one in found]


def columns_of(rows: list[tuple[Any, ...]]) -> dict[str, pa.Array]:
    names = ("x", "y", "s", "t")
    kinds = (pa.float64(), pa.float64(), pa.string(), pa.string())
    made = {n: pa.array([row[i] for row in rows], kind) for i, (n, kind) in enumerate(zip(names, kinds, strict=True))}
    return read(pa.table(made), names)


@given(table, a_number())
@hypothesis_settings(max_examples=300)
def test_numbers_are_those_of_sqlite(rows: list[tuple[Any, ...]], expression: str) -> None:
    found = numbers(parse(expression), columns_of(rows), len(rows))
    np.testing.assert_allclose(found, by_sqlite(rows, expression), rtol=1e-12)


@given(table, a_truth())
@hypothesis_settings(max_examples=300)
def test_conditions_are_those_of_sqlite(rows: list[tuple[Any, ...]], expression: str) -> None:
    """True, and unknown, in the same rows."""
    true, unknown = holds(parse(expression), columns_of(rows), len(rows))
    expected = by_sqlite(rows, expression)
    assert true.tolist() == [one == 1 for one in expected]
    assert unknown.tolist() == [one != one for one in expected]  # noqa: PLR0124


# --- what SQLite says otherwise, or not at all ------------------------------------------------------------------------

LOG = pa.table(
    {
        "number": pa.array([1, 0, None, 2]),
        "float": pa.array([1.5, float("nan"), float("inf"), -1.0]),
        "truth": pa.array([True, False, None, True]),
        "text": pa.array(["1", "yes", None, "red"]),
        "said": pa.array(["True", " no ", "0", "perhaps"]),
        "dictionary": pa.array(["a", "b", None, "a"]).dictionary_encode(),
        "time": pa.array([0, 10, None, 1_500], pa.timestamp("ms", "UTC")),
        "list": pa.array([[1], [2], None, [3]]),
        "a b": pa.array([1.0, 2.0, 3.0, 4.0]),
        "nothing": pa.nulls(4),
    }
)
NAN = float("nan")


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("number", [1, 0, NAN, 2]),
        ("float", [1.5, NAN, NAN, -1]),
        ("truth", [1, 0, NAN, 1]),
        ("truth + 1", [2, 1, NAN, 2]),
        ("truth = 1", [1, 0, NAN, 1]),
        ("text", [1, NAN, NAN, NAN]),
        ("text = 1", [1, NAN, NAN, NAN]),
        ("text = '1'", [1, 0, NAN, 0]),
        ("number = '1'", [1, 0, NAN, 0]),
        ("said is true", [1, 0, 0, 0]),
        ("said is not true", [0, 1, 1, 1]),
        ("not said", [0, 1, 1, NAN]),
        ("dictionary = 'a'", [1, 0, NAN, 1]),
        ("time", [0, 0.01, NAN, 1.5]),
        ("list", [NAN] * 4),
        ("list is null", [1, 1, 1, 1]),
        ("nothing", [NAN] * 4),
        ("no_such_column is null", [1, 1, 1, 1]),
        ("no_such_column = 'a' or number = 1", [1, NAN, NAN, NAN]),
        ('"a b" * 2', [2, 4, 6, 8]),
        ("number / 0", [NAN] * 4),
        ("1e300 * 1e300 * number", [NAN] * 4),
        ("greatest(number, 1)", [1, 1, NAN, 2]),
        ("least(number, 1, truth)", [1, 0, NAN, 1]),
        ("case when number = 1 then 'red' when truth then 'blue' end = text", [0, NAN, NAN, 0]),
        ("case when number > 0 then number end", [1, NAN, NAN, 2]),
        ("coalesce(nothing, number, -1)", [1, 0, -1, 2]),
        ("coalesce(nothing, text) = '1'", [1, 0, NAN, 0]),
        ("true", [1, 1, 1, 1]),
        ("null", [NAN] * 4),
        ("1 = 1 and number in (1, null)", [1, NAN, NAN, NAN]),
        ("number /* the first */ = 1 -- only", [1, 0, NAN, 0]),
    ],
)
def test_values(expression: str, expected: list[float]) -> None:
    """Of odd columns, odd types side by side, and what is unknown."""
    made = parse(expression)
    np.testing.assert_allclose(numbers(made, read(LOG, made.columns), 4), expected)


def test_columns_in_order_of_their_use() -> None:
    """Each once, names as they are written."""
    assert parse('b = 1 and A > b or "x y" in (a, 2)').columns == ("b", "A", "x y", "a")
    assert parse("1 + 1").columns == ()


REFUSED = """
sum(x); count(*); now(); current_date; x like 'a%'; x % 2; x || 'a'; x::int; cast(x as int); (select 1);
x in (select 1); exists(select 1); __import__('os'); open('/etc/passwd'); read_csv('a'); x.__class__; a.b.c; a.b; x[0];
@x; ?; :x; $1; 0E;
{'a': 1}; [1]; interval '1 day'; x -> y; lambda x: x + 1; *; x.*; 1e999; x is y; case x when 1 then 2 end; if(x, 1, 2);
x y; x +; (x; 'x; "x; x in (); select 1; x order by y; x from y; distinct x; x over (); x at time zone 'UTC'; x as y
"""


@pytest.mark.parametrize("text", [*(one.strip() for one in REFUSED.strip().split(";")), "", "x; drop table rows", ";"])
def test_refused(text: str) -> None:
    """Everything else is refused when it is read, in one plain line."""
    with pytest.raises(ExpressionError) as error:
        parse(text)
    assert "\n" not in str(error.value)
    assert "\x1b" not in str(error.value)
    assert len(str(error.value)) < 500 + len(text)


def test_too_long_or_too_deep() -> None:
    """No text makes the reader run for long, or out of its stack."""
    for text in (
        "(" * 900 + "x" + ")" * 900,
        "not " * 450 + "x",
        "-" * 1900 + "x",
        "x" * 2001,
        " or ".join(["x"] * 400),
    ):
        try:
            parse(text)
        except ExpressionError as error:
            assert "\n" not in str(error)


@given(st.text(max_size=40) | st.text("x1'\"()+-*/=<> andorti,.;nulsec", max_size=40))
@hypothesis_settings(max_examples=300)
def test_any_text_is_an_expression_or_refused(text: str) -> None:
    """No other exception, neither when it is read nor when it is evaluated."""
    try:
        made = parse(text)
    except ExpressionError:
        return
    assert len(numbers(made, read(LOG, made.columns), 4)) == 4
    assert len(holds(made, read(LOG, made.columns), 4)[0]) == 4


def test_values_are_kept_as_json_and_come_back() -> None:
    """What the ledger keeps of a row evaluates as the row did."""
    import json

    names = tuple(LOG.column_names)
    loaded = read(LOG, names)
    rows = json.loads(json.dumps(plain(loaded, names, 4), allow_nan=False))
    again = from_plain(rows, names)
    for name in names:
        made = parse(f'"{name}"')
        np.testing.assert_array_equal(numbers(made, loaded, 4), numbers(made, again, 4))
    assert from_plain([[1.0], ["x"], [True], [None]], ("c",))["c"].to_pylist() == ["1", "x", "1", None]
    assert plain({}, ("c",), 2) == [[None], [None]]
    assert datetime.fromtimestamp(again["time"].to_pylist()[1], UTC).microsecond == 10_000
