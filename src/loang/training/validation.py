"""How well a denoiser does on images that are held out."""

import torch

from loang import device
from loang.data.images import Images
from loang.data.scaling import to_model
from loang.denoiser import Denoiser
from loang.training.objective import Objective

LEAST_VALIDATED = 256
"""Images, where there are so many: of fewer a mean says little."""


def validated(count: int, looks: int) -> range:
    """Which of so many images are looked at.

    Args:
        count: of images.
        looks: evaluations that one takes: so many times fewer are looked at.
    """
    every = min(looks, count // LEAST_VALIDATED)
    return range(0, count, max(1, every))


@torch.no_grad()
def error(
    denoiser: Denoiser,
    objective: Objective,
    images: Images,
    numbers: range,
    batch: int,
    on: torch.device,
    dtype: torch.dtype | None,
) -> float:
    """The mean of an objective's error over images, the same each time.

    Args:
        denoiser: the objective's.
        objective: whose error it is.
        images: held out.
        numbers: of the images that are looked at, at least one.
        batch: looked at at once.
        on: device.
        dtype: that the network computes in, under autocast.
    """
    if objective.looks > 1:  # a guided look is at twice the batch
        batch = max(1, batch // 2)
    total = torch.zeros((), dtype=torch.float64)
    training = denoiser.training
    denoiser.eval()
    for indices in torch.tensor(numbers).split(batch):
        x0 = to_model(images[indices.numpy()], images.spec)
        x0 = x0.to(on, memory_format=torch.channels_last)
        label = None
        if denoiser.classes and images.labels is not None:
            label = torch.from_numpy(images.labels[indices.numpy()]).to(on)
        with device.autocast(on, dtype):
            found = objective.error(x0, label, indices)
        total += found.cpu().double().sum()
    denoiser.train(training)
    return float(total / len(numbers))
