"""A baseline that ends the process that imports it."""

import os

from trouble import Counter

os._exit(0)


class Leaving(Counter):
    """As Counter, if only it could be had."""
