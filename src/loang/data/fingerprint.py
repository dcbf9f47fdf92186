"""One number that tells whether two data sets hold the same images in the same parts."""

import hashlib
import json
import math

import numpy as np
from jaxtyping import Shaped

from loang.data.images import Images

PIECE = 2**22
"""Values at once."""


def fingerprint(*parts: Images) -> str:
    """SHA-256, in hexadecimal, over each part's spec, length, pixels and labels, in that order.

    It depends on the order of the images, and not on how or where they are stored.
    """
    digest = hashlib.sha256()
    for part in parts:
        about = {**part.spec.to_dict(), "length": len(part), "labels": part.labels is not None}
        digest.update(json.dumps(about, sort_keys=True).encode())
        # By the piece, so that neither a memory-mapped nor a transposed array is copied whole.
        rows = max(1, PIECE // math.prod(part.spec.shape))
        for start in range(0, len(part), rows):
            _update(digest, part[start : start + rows])
        if part.labels is not None:
            _update(digest, part.labels.astype("<i8"))
    return digest.hexdigest()


def _update(digest: "hashlib._Hash", values: Shaped[np.ndarray, "n ..."]) -> None:
    little_endian = values.dtype.newbyteorder("<")
    digest.update(np.ascontiguousarray(values, dtype=little_endian).data)
