"""What is said under every table of ESCI figures: the gains, and whether published figures compare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Gains = Literal["paper", "script"]

GAINS: Mapping[Gains, Mapping[int, int]] = {  # grade -> gain; grades of I, C, S, E are 0 to 3
    "paper": {3: 100, 2: 10, 1: 1, 0: 0},
    "script": {3: 100, 2: 1, 1: 10, 0: 0},
}

OFFICIAL_QUERIES, OFFICIAL_JUDGMENTS = 8_956, 181_701  # the test split of us/small

UNJUDGED = (
    "retrieval counts a product that nobody judged for the query as irrelevant; judgments were made for "
    "each query's pool alone, so figures are lower bounds and not comparable with those of Task 1"
)

_PUBLISHED = (
    "published nDCG on Task 1 of ESCI (data set: Reddy et al. 2022, arXiv 2206.06588), test split of "
    "us/small: random 0.7483, SBERT on titles 0.8292, MiniLM-L12 cross encoder 0.8562–0.857; of all "
    "locales: the best of KDD Cup 2022 0.9043"
)


def gains(profile: Gains) -> str:
    """The gains profile in words."""
    if profile == "paper":
        return "gains=paper: E/S/C/I gain 1/0.1/0.01/0, as integers 100/10/1/0"
    return (
        "gains=script: E/S/C/I gain 1/0.01/0.1/0, as integers 100/1/10/0, which is how Amazon's own "
        "evaluation script maps labels (esci-data issues 9 and 18); gains=paper has S before C"
    )


def published(locale: str, version: str, queries: int, judgments: int) -> tuple[str, str]:
    """The published figures, and whether those of a test split of this size may be put beside them."""
    official = f"{OFFICIAL_QUERIES:,} queries and {OFFICIAL_JUDGMENTS:,} judgments"
    if (locale, version, queries, judgments) == ("us", "small", OFFICIAL_QUERIES, OFFICIAL_JUDGMENTS):
        return _PUBLISHED, (
            f"the test split is the official one of us/small ({official}): figures over all of its queries "
            "may be put beside published ones"
        )
    return _PUBLISHED, (
        f"this is not the official test split of us/small ({queries:,} queries and {judgments:,} judgments "
        f"of {locale}/{version} where it has {official}): figures are not comparable with published ones"
    )
