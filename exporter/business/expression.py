"""One SQL expression over a table's columns: read by sqlglot, refused unless each part is known, then evaluated.

No text ever runs as code: the parsed tree is turned into calls of the functions in this file. Values are numbers
(64-bit floats), truth values and text, each of which may be unknown (null), with SQL's logic of three values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial, reduce
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from exporter.business.columns import Columns, as_numbers, as_truths, finite
from exporter.rows import Bools, Floats

_Step = Callable[[Columns, int], pa.Array]
_LONGEST = 2000
_COMPARISONS: Mapping[str, str] = {
    "EQ": "equal",
    "NEQ": "not_equal",
    "GT": "greater",
    "GTE": "greater_equal",
    "LT": "less",
    "LTE": "less_equal",
}
_ARITHMETIC: Mapping[str, str] = {"Add": "add", "Sub": "subtract", "Mul": "multiply", "Div": "divide"}
_OF_MANY: Mapping[str, str] = {"Greatest": "max_element_wise", "Least": "min_element_wise"}
_KNOWN = (
    "known are = <> < <= > >=, and, or, not, in, between, is null, + - * /, "
    "abs, coalesce, nullif, greatest, least, case, numbers, 'text', true, false, null, and columns"
)


class ExpressionError(ValueError):
    """Text that is no expression of this language; one sentence with the mend."""


class Expression(NamedTuple):
    """A usable expression. columns: those that it reads, in the order of their first use."""

    text: str
    columns: tuple[str, ...]
    step: _Step


@lru_cache(maxsize=1024)
def parse(text: str) -> Expression:
    """Read an expression; raise ExpressionError where it is none, or where a part of it is not known."""
    if len(text) > _LONGEST:
        raise ExpressionError(f"an expression has at most {_LONGEST} characters, this one has {len(text)}")
    import sqlglot  # takes as long as all settings together, and most configurations have no expression
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    try:
        tree = sqlglot.parse_one(text, into=exp.Condition)
        step = _compile(tree, text)
    except SqlglotError as error:
        raise ExpressionError(f"{text!r} is no expression{_where(error)}") from error
    except RecursionError as error:
        raise ExpressionError(f"{text!r} is nested too deeply") from error
    return Expression(text, tuple(dict.fromkeys(own.name for own in tree.find_all(exp.Column, bfs=False))), step)


def _where(error: Exception) -> str:
    found = getattr(error, "errors", None)
    if not found or not found[0].get("highlight"):
        return ": write one as in \"amount > 0 and country = 'NO'\""
    return f": it cannot be read from {found[0]['highlight']!r} on, at character {found[0]['col']}"


def _compile(node: Any, text: str) -> _Step:
    """Turn a parsed node into a step; raise ExpressionError where it is of no known kind."""
    kind = _kind(node)
    make = _NODES.get(kind)
    extra = {key for key, value in node.args.items() if value not in (None, [], False)} - _ARGUMENTS.get(kind, set())
    if make is None or extra - {"this", "expression", "expressions"}:
        shown = node.sql() if len(node.sql()) < 40 else f"{node.sql()[:40]}..."
        if kind == "Column" and "table" in extra:
            raise ExpressionError(f'{shown} in {text!r}: write a column with a dot in its name as "a.b"')
        raise ExpressionError(f"{shown} in {text!r} is not part of the language; {_KNOWN}")
    return make(node, text)


def _kind(node: Any) -> str:
    return type(node).__name__


def _column(node: Any, text: str) -> _Step:
    if _kind(node.this) != "Identifier" or (node.name.startswith("$") and not node.this.quoted):
        raise ExpressionError(f"{node.sql()} in {text!r} names no column; {_KNOWN}")
    name = node.name
    return lambda columns, rows: columns.get(name, _nothing(rows))


def _literal(node: Any, text: str) -> _Step:
    if node.is_string:
        return partial(_constant, str(node.this))
    try:
        value = float(node.this)
    except ValueError as error:
        raise ExpressionError(f"{node.this} in {text!r} is no number") from error
    if not np.isfinite(value):
        raise ExpressionError(f"{node.this} in {text!r} is too large a number")
    return partial(_constant, value)


def _constant(value: str | float | bool, _columns: Columns, rows: int) -> pa.Array:
    return pa.repeat(pa.scalar(value), rows)


def _nothing(rows: int) -> pa.Array:
    return pa.nulls(rows, pa.float64())


def _each(node: Any, text: str, *names: str) -> list[_Step]:
    """Compile some of a node's arguments, lists of them in order."""
    found: list[_Step] = []
    for name in names:
        value = node.args.get(name)
        found += [_compile(one, text) for one in (value if isinstance(value, list) else [value]) if one is not None]
    return found


def _comparison(node: Any, text: str) -> _Step:
    left, right = _each(node, text, "this", "expression")
    name = _COMPARISONS[_kind(node)]
    return lambda columns, rows: _compare(name, left(columns, rows), right(columns, rows))


def _compare(name: str, left: pa.Array, right: pa.Array) -> pa.Array:
    """Compare text with text, and all else as numbers."""
    if not (pa.types.is_string(left.type) and pa.types.is_string(right.type)):
        left, right = as_numbers(left), as_numbers(right)
    return pc.call_function(name, [left, right])


def _arithmetic(node: Any, text: str) -> _Step:
    left, right = _each(node, text, "this", "expression")
    name = _ARITHMETIC[_kind(node)]
    return lambda columns, rows: _calculate(name, left(columns, rows), right(columns, rows))


def _calculate(name: str, left: pa.Array, right: pa.Array) -> pa.Array:
    """Calculate with numbers; what has no finite result, as a division by 0, is unknown."""
    return finite(pc.call_function(name, [as_numbers(left), as_numbers(right)]))


def _logic(node: Any, text: str) -> _Step:
    left, right = _each(node, text, "this", "expression")
    function = pc.and_kleene if _kind(node) == "And" else pc.or_kleene
    return lambda columns, rows: function(as_truths(left(columns, rows)), as_truths(right(columns, rows)))


def _not(node: Any, text: str) -> _Step:
    (inner,) = _each(node, text, "this")
    return lambda columns, rows: pc.invert(as_truths(inner(columns, rows)))


def _in(node: Any, text: str) -> _Step:
    value, *options = _each(node, text, "this", "expressions")
    if not options:
        raise ExpressionError(f"{node.sql()} in {text!r}: name at least one value")

    def step(columns: Columns, rows: int) -> pa.Array:
        own = value(columns, rows)
        return reduce(pc.or_kleene, [_compare("equal", own, one(columns, rows)) for one in options])

    return step


def _between(node: Any, text: str) -> _Step:
    value, low, high = _each(node, text, "this", "low", "high")

    def step(columns: Columns, rows: int) -> pa.Array:
        own = value(columns, rows)
        above = _compare("greater_equal", own, low(columns, rows))
        return pc.and_kleene(above, _compare("less_equal", own, high(columns, rows)))

    return step


def _is(node: Any, text: str) -> _Step:
    (value,) = _each(node, text, "this")
    other = node.expression
    if _kind(other) == "Null":
        return lambda columns, rows: pc.is_null(value(columns, rows))
    if _kind(other) != "Boolean":
        raise ExpressionError(f"{node.sql()} in {text!r}: only null, true and false stand after is")
    wanted = bool(other.this)
    return lambda columns, rows: pc.fill_null(pc.equal(as_truths(value(columns, rows)), wanted), False)


def _of_one(function: Callable[[pa.Array], pa.Array]) -> Callable[[Any, str], _Step]:
    def make(node: Any, text: str) -> _Step:
        (inner,) = _each(node, text, "this")
        return lambda columns, rows: function(inner(columns, rows))

    return make


def _of_many(node: Any, text: str) -> _Step:
    """Of several numbers the largest or least; unknown where one of them is."""
    values = _each(node, text, "this", "expressions")
    function = getattr(pc, _OF_MANY[_kind(node)])
    return lambda columns, rows: function(*(as_numbers(one(columns, rows)) for one in values), skip_nulls=False)


def _coalesce(node: Any, text: str) -> _Step:
    values = _each(node, text, "this", "expressions")
    return lambda columns, rows: pc.coalesce(*_alike([one(columns, rows) for one in values]))


def _nullif(node: Any, text: str) -> _Step:
    left, right = _each(node, text, "this", "expression")

    def step(columns: Columns, rows: int) -> pa.Array:
        value = left(columns, rows)
        same = pc.fill_null(_compare("equal", value, right(columns, rows)), False)
        return pc.if_else(same, pa.scalar(None, value.type), value)

    return step


def _case(node: Any, text: str) -> _Step:
    if node.args.get("this") is not None:
        raise ExpressionError(f"{node.sql()} in {text!r}: write case when x = 1 then ... end")
    branches = [(_compile(one.this, text), _compile(one.args["true"], text)) for one in node.args["ifs"]]
    default = _each(node, text, "default")

    def step(columns: Columns, rows: int) -> pa.Array:
        other = default[0](columns, rows) if default else _nothing(rows)
        *values, found = _alike([*(value(columns, rows) for _, value in branches), other])
        for (condition, _), value in reversed(list(zip(branches, values, strict=True))):
            found = pc.if_else(pc.fill_null(as_truths(condition(columns, rows)), False), value, found)
        return found

    return step


def _alike(values: list[pa.Array]) -> list[pa.Array]:
    """Return values of one type: text if all that are known are text, truth likewise, else numbers."""
    known = [one for one in values if one.null_count < len(one)] or values[:1]
    for kind in (pa.string(), pa.bool_()):
        if all(one.type == kind for one in known):
            return [one if one.type == kind else pa.nulls(len(one), kind) for one in values]
    return [as_numbers(one) for one in values]


_ARGUMENTS: Mapping[str, set[str]] = {
    "Between": {"low", "high"},
    "Case": {"ifs", "default"},
    "Literal": {"is_string"},
    "Coalesce": {"is_nvl"},
    "Div": {"typed", "safe"},
    "Greatest": {"ignore_nulls"},
    "Least": {"ignore_nulls"},
}
_NODES: Mapping[str, Callable[[Any, str], _Step]] = {
    "Column": _column,
    "Literal": _literal,
    "Boolean": lambda node, _: partial(_constant, bool(node.this)),
    "Null": lambda _node, _: lambda _columns, rows: _nothing(rows),
    "Paren": _of_one(lambda value: value),
    "Neg": _of_one(lambda value: pc.negate(as_numbers(value))),
    "Abs": _of_one(lambda value: pc.abs(as_numbers(value))),
    "Not": _not,
    "In": _in,
    "Between": _between,
    "Is": _is,
    "Coalesce": _coalesce,
    "Nullif": _nullif,
    "Case": _case,
    **dict.fromkeys(_COMPARISONS, _comparison),
    **dict.fromkeys(_ARITHMETIC, _arithmetic),
    **dict.fromkeys(_OF_MANY, _of_many),
    **dict.fromkeys(("And", "Or"), _logic),
}


def numbers(expression: Expression, columns: Columns, rows: int) -> Floats:
    """Evaluate to a number a row, NaN where unknown."""
    found = as_numbers(expression.step(columns, rows))
    return np.asarray(pc.fill_null(found, float("nan")).to_numpy(zero_copy_only=False), np.float64)


def holds(expression: Expression, columns: Columns, rows: int) -> tuple[Bools, Bools]:
    """Evaluate a condition: where it is true, and where it is unknown."""
    found = as_truths(expression.step(columns, rows))
    both = pc.fill_null(found, False), pc.is_null(found)
    true, unknown = (np.asarray(one.to_numpy(zero_copy_only=False), np.bool_) for one in both)
    return true, unknown
