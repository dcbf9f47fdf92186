"""What a run learns from: images by their position in it, with their labels."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from loang import augment
from loang.config import Settings
from loang.data import order
from loang.data.images import Images
from loang.device import sent
from loang.training.feed import Feed


class Examples(NamedTuple):
    """Images in [-1, 1], their labels, and how they were changed, for a network that is told."""

    x0: Float[Tensor, "n c h w"]
    label: Int[Tensor, " n"] | None
    told: Float[Tensor, "n parameters"] | None


class Source:
    """The images of a run in their order, changed as the settings ask.

    Args:
        images: of the training split.
        settings: the order's seed, and the changes.
        classes: how many labels the network knows; 0 gives none.
        on: device.
    """

    def __init__(self, images: Images, settings: Settings, classes: int, on: torch.device) -> None:
        self.feed = Feed(images, on)
        self.settings = settings
        self.classes = classes
        self.device = on

    @property
    def images(self) -> Images:
        """Of the training split."""
        return self.feed.images

    def __call__(self, position: int, size: int) -> Examples:
        """The images number position, position + 1, ... of the run."""
        data, seed = self.settings.data, self.settings.training.seed
        indices = order.batch(position, size, len(self.images), seed)
        x0 = self.feed(indices)  # on the device already, where all images fit there
        changes = augment.draw(
            data,
            self.images.spec,
            seed=seed,
            positions=torch.arange(position, position + size, device=x0.device),
        )
        x0 = augment.apply(x0, changes)
        label = None
        if self.classes and self.images.labels is not None:
            label = sent(torch.from_numpy(self.images.labels[indices]), self.device)
        told = None
        if augment.parameters(data, self.images.spec):
            told = augment.told(data, self.images.spec, changes).to(self.device)
        return Examples(x0.to(self.device, memory_format=torch.channels_last), label, told)
