"""The HTTP side: metrics, health, JSON, pages."""
