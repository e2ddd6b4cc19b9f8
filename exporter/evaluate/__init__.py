"""Baseline and windows -> readings. Pure: the clock and all counts are arguments. One module a question."""
