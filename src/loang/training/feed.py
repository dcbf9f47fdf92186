"""Gives a network its images: in [-1, 1], on its device."""

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from loang.data.images import Images
from loang.data.memory import is_small, let_go
from loang.data.scaling import scaled
from loang.data.spec import ImageSpec
from loang.device import sent

ON_DEVICE = 0.25
"""Of a GPU's free memory: images that take up to so much lie there."""
LET_GO = 2**23
"""Bytes of batches after which the pages of a mapped array larger than memory are given back."""
PIECE = 2**26  # bytes that are brought there at once


class Feed:
    """Images by their numbers. On a GPU that has room all of them lie there, at their own depth.

    On the CPU they lie where they are: in memory, or in a file that is mapped.

    Args:
        images: to give.
        device: of the network.
        room: bytes that the images may take on the device; None finds out.
    """

    def __init__(self, images: Images, device: torch.device, room: int | None = None) -> None:
        self.images = images
        self.device = device
        size = len(images) * int(np.prod(images.spec.shape)) * np.dtype(images.spec.depth).itemsize
        self.given = 0
        self.lets_go = not images.stored.flags.writeable and not is_small(images.stored)
        self.resident: Tensor | None = None
        if size <= (_room(device) if room is None else room):
            self.resident = self._brought()

    def __call__(self, indices: Int[np.ndarray, " n"]) -> Float[Tensor, "n c h w"]:
        """The images of those numbers."""
        spec = self.images.spec
        if self.resident is not None:
            chosen = self.resident[sent(torch.from_numpy(indices), self.device)]
            return scaled(_values(chosen, spec), spec)
        pixels = np.array(self.images[indices], dtype=np.float32)
        self.given += pixels.nbytes
        if self.lets_go and self.given > LET_GO:
            self.given = 0
            let_go(self.images.stored)
        return scaled(torch.from_numpy(pixels), spec)

    def _brought(self) -> Shaped[Tensor, "n h w c"]:
        """All images on the device, by the piece."""
        spec, count = self.images.spec, len(self.images)
        shape = count, spec.height, spec.width, spec.channels
        depth = np.dtype(spec.depth)
        kept = getattr(torch, _KEPT.get(spec.depth, spec.depth))
        result = torch.empty(shape, dtype=kept, device=self.device)
        rows = max(1, PIECE // (int(np.prod(shape[1:])) * depth.itemsize))
        for start in range(0, count, rows):
            piece = np.array(self.images[start : start + rows])
            if spec.depth in _KEPT:
                piece = piece.view(_KEPT[spec.depth])
            result[start : start + rows] = torch.from_numpy(piece).to(self.device)
        return result


# torch computes with few types of whole numbers without a sign: the same bits, read with one.
_KEPT = {"uint16": "int16"}


def _values(chosen: Shaped[Tensor, "n h w c"], spec: ImageSpec) -> Float[Tensor, "n h w c"]:
    if spec.depth in _KEPT:
        chosen = chosen.to(torch.int32) & 0xFFFF
    return chosen.to(torch.float32)


def _room(device: torch.device) -> int:
    """Bytes that images may take on the device; none on the CPU, where they lie already."""
    if device.type == "cuda":
        return int(ON_DEVICE * torch.cuda.mem_get_info(device)[0])
    return 0
