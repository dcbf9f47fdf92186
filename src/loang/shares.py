"""Labels in the proportions of the real images' classes."""

import numpy as np
from jaxtyping import Float, Int64

GOLDEN = (5**0.5 - 1) / 2


def labels_like(shares: Float[np.ndarray, " classes"], count: int) -> Int64[np.ndarray, " count"]:
    """Labels for samples 0, 1, ... in the proportions of the real images' classes.

    Multiples of the golden ratio fill [0, 1) evenly at any length, so the first n labels keep the
    proportions as well as n labels can, and label i does not depend on n.

    Args:
        shares: of each class, 0 or more, not all 0.
        count: how many.
    """
    edges = np.cumsum(shares) / np.sum(shares)
    places = (np.arange(count) + 0.5) * GOLDEN % 1.0
    return np.searchsorted(edges[:-1], places, side="right").astype(np.int64)
