"""How many images a training step has room for."""

import torch
from torch import Tensor

from loang import device
from loang.training.trainer import Trainer

BESIDE_LAYERS = 1.15
"""What a step holds at its peak, over what its layers keep: benchmarks/memory.py."""


def images_that_fit(trainer: Trainer, free: int) -> int:
    """How many images of the batch can be computed at once in so much memory.

    A GPU that is out of memory says so, and training goes on with fewer. Main memory that is used
    up ends the process without a word, so this is asked before.

    Args:
        trainer: on the CPU.
        free: bytes.

    Returns:
        The most that `free` allows, of the batch's halves, quarters and so on; 1 at the least.
    """
    weights = 4 * 4 * sum(parameter.numel() for parameter in trainer.denoiser.parameters())
    fits = (free - weights) / (BESIDE_LAYERS * max(layer_bytes(trainer), 1))
    at_once = trainer.micro_batch
    while at_once > 1 and at_once > fits:
        at_once = (at_once + 1) // 2
    return at_once


def layer_bytes(trainer: Trainer) -> int:
    """What the layers keep of one image for its gradient, in bytes; two forward passes tell."""
    # The difference: what is kept for any number of images, as weights in bfloat16, is no part.
    return (_kept_bytes(trainer, 4) - _kept_bytes(trainer, 2)) // 2


def _kept_bytes(trainer: Trainer, images: int) -> int:
    kept: dict[int, int] = {}

    def remember(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    numbers = torch.arange(images)
    trainer.denoiser.train()
    with (
        trainer.dropping.seeded(0, 0),
        torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor),
        device.autocast(trainer.device, trainer.dtype),
    ):
        loss = trainer.objective.loss(trainer.moment, numbers)
        total = sum(kept.values())  # before the graph, and with it the storages, are gone
    del loss
    return total
