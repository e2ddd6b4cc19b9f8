"""Categories: one place each, one for what the reference never saw, one for missing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.profile import categorical
from exporter.profile.categorical import CategoryBins
from tests.unit.helpers.profiles import category_samples, category_vector

names = st.lists(st.sampled_from(["a", "b", "c", "d", None]), max_size=40)


def test_each_category_has_its_place():
    bins = CategoryBins(("a", "b"))
    assert category_vector(bins, ["a", "b", "b", "x", "y", None]).tolist() == [1, 2, 2, 1]
    assert (bins.unseen, bins.missing, bins.size) == (2, 3, 4)


def test_missing_is_no_category_and_unseen_is_one():
    _, window = category_samples(["a", "b"], ["a", None, "x", "y"])
    assert window.bins.tolist() == [1, 0, 2]
    assert window.rows == 3


@given(names, names)
def test_two_batches_add_up_to_both(first, second):
    bins = CategoryBins(("a", "b", "c"))
    vectors = [category_vector(bins, values) for values in (first, second, [*first, *second])]
    assert (vectors[0] + vectors[1] == vectors[2]).all()
    assert vectors[2].sum() == len(first) + len(second)


def test_a_category_without_rows_is_none_of_the_reference():
    assert categorical.fit(("a", "b", "c"), np.array([0, 2, 0, -1])).categories == ("a", "c")


def test_a_reference_without_values_is_refused():
    with pytest.raises(ValueError, match="no value"):
        categorical.fit(("a",), np.array([-1, -1]))


def test_of_too_many_categories_the_commonest_stay(monkeypatch):
    monkeypatch.setattr(categorical, "MOST_CATEGORIES", 2)
    bins = categorical.fit(("a", "b", "c"), np.array([0, 1, 1, 2, 2, 2]))
    assert bins == CategoryBins(("b", "c"), complete=False)
    assert category_vector(bins, [*"aabbc"]).tolist() == [2, 1, 2, 0]
    assert categorical.fit(("a", "b"), np.array([0, 1])).complete


def test_shares_are_shown_for_the_commonest_the_others_and_the_unseen():
    bins = CategoryBins(tuple("abcde"))
    reference, window = category_vector(bins, [*"aaabbcde"]), category_vector(bins, [*"eeeeexx"])
    assert categorical.bin_shares(bins, reference, window, 4) == [
        ("e", 1, 5),
        ("a", 3, 0),
        ("(other)", 4, 0),
        ("(unseen)", 0, 2),
    ]
    shown = categorical.bin_shares(bins, reference, window, 6)
    assert [name for name, *_ in shown] == ["e", "a", "b", "c", "d", "(unseen)"]
    assert sum(row[1] for row in shown) == 8
