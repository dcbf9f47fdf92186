"""Images that a model has drawn: an array as any other, and in a notebook a picture."""

from typing import Any

import numpy as np
from jaxtyping import Shaped

from loang.data.spec import ImageSpec


class Sampled(np.ndarray):
    """An array (n, h, w, c) that a notebook shows as a sheet; a part (h, w, c), as a picture.

    What is computed from it is a plain array, and so is what is pickled or saved. It keeps what its
    images are in `spec`, and so do its parts and copies.
    """

    spec: ImageSpec | None

    @classmethod
    def of(cls, pixels: Shaped[np.ndarray, "n h w c"], spec: ImageSpec) -> "Sampled":
        """The same memory, with what it holds."""
        made = np.asarray(pixels).view(cls)
        made.spec = spec
        return made

    def __array_finalize__(self, source: Any) -> None:
        self.spec = getattr(source, "spec", None)

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        """Plain, as sums and differences are no images any more."""
        if array is self:  # it was changed in place
            return self
        plain = np.asarray(array)
        return plain[()] if return_scalar or plain.ndim == 0 else plain

    def __reduce__(self) -> Any:
        return np.asarray(self).__reduce__()

    def __reduce_ex__(self, protocol: Any) -> Any:
        return np.asarray(self).__reduce_ex__(protocol)

    def _repr_png_(self) -> bytes | None:
        """For notebooks: a sheet at the most; None where it holds no whole images any more."""
        spec = self.spec
        if spec is None or self.dtype != spec.depth or self.size == 0:
            return None
        if self.ndim not in (3, 4) or self.shape[-1] != spec.channels:
            return None
        from loang.pictures.notebook import sheet_png

        pixels = np.asarray(self)
        return sheet_png(pixels if self.ndim == 4 else pixels[None], spec)
