"""Rows that stay in a cluster: counted where they are, only counts come back."""
