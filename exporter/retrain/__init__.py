"""Retraining: alerts -> decision -> action, each step in the store."""
