"""Change detectors over a series of days, a file each. All elementwise: one series, or many side by side.

Each file has settings, a memory (plain numbers or arrays), and: `begin`, an empty memory; `after`, one that has seen
the reference and found no change in it; `update`, which adds a day of weight w and returns memory and score. A score
above `settings.threshold` is drift, NaN is not judged. No score depends on the threshold.
"""
