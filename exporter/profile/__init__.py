"""Rows -> mergeable counts over bins that the reference fixed."""
