"""How the values of arrays of numbers are kept, told by their type alone; as a TIFF's are."""

import numpy as np
from jaxtyping import Shaped

from loang.data.encoded.tiff_values import as_float32
from loang.data.spec import Depth

DEPTHS: dict[str, Depth] = {
    "bool": "uint8",
    "uint8": "uint8",
    "uint16": "uint16",
    "float16": "float32",
    "float32": "float32",
    "float64": "float32",
    "int8": "float32",
    "int16": "float32",
    "int32": "float32",
    "int64": "float32",
    "uint32": "float32",
    "uint64": "float32",
}
"""By numpy's names of types. Signed and longer whole numbers become real ones, and stay exact."""


def kept(values: Shaped[np.ndarray, "h w c"]) -> Shaped[np.ndarray, "h w c"]:
    """The same values at their depth; False and True are 0 and 255.

    Real numbers beyond float32 become infinite, which is found later.

    Raises:
        Unreadable: a whole number is one that float32 can't hold.
    """
    depth = DEPTHS[values.dtype.name]
    if values.dtype == bool:
        return values.view(np.uint8) * np.uint8(255)
    if values.dtype.kind in "iu" and depth == "float32":
        return as_float32(values)
    # A float64 too large is found as infinity later, and a signalling NaN as NaN.
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(depth)
