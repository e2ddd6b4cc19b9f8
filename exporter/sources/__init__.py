"""Rows from the outside, as Arrow tables."""
