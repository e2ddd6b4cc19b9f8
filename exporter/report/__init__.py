"""The monitoring report of one model: data, advice, and the two forms that people read."""
