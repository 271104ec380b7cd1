"""Baselines that nobody asked for: one that can't say what it loads, and one that is sound."""

from trouble import Counter


class Unsaid(Counter):
    @classmethod
    def weights(cls, options, context):
        return {"model": 1}


class Sound(Counter):
    """As Counter."""
