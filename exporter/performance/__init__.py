"""Outcome counts -> performance metrics; pure functions of counts."""
