"""Training an encoder: as a classifier where there are labels, else by telling images apart."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from loang import device, heap, random
from loang.data.images import Images
from loang.data.order import batch
from loang.data.scaling import to_model
from loang.metrics.features.augment import moved, viewed
from loang.metrics.features.encoder import Encoder

OnStep = Callable[[int, int], None]
Loss = Callable[[Float[Tensor, "n c h w"], Int[Tensor, " n"], int], Float[Tensor, ""]]
CPU = torch.device("cpu")
DRAWN = 14
"""Pixels a side, at the most, of the small image that is drawn from the features of a view."""
DRAWING = 5.0
"""Weight of the squared error of that drawing."""


@dataclass(frozen=True)
class Recipe:
    """How an encoder is trained.

    Args:
        images: seen in all.
        batch: images a step.
        rate: the highest learning rate, reached after `warm_up` of all steps; 0.15 suits the
            descent of `learn_classes`, 0.002 that of `learn_views`.
        warm_up: a share; after it the rate falls in a straight line to 0 (Smith and Topin 2018).
        decay: of the weights.
        average: the factor of the weights' moving average, which is what is kept.
        smoothing: of a classifier's labels (Szegedy et al. 2016).
        shift: the most pixels by which a classifier's images are moved.
        mirror: whether they are mirrored.
        width: of the two layers that views are compared behind.
    """

    images: int
    batch: int = 128
    rate: float = 0.15
    warm_up: float = 0.2
    decay: float = 5e-4
    average: float = 0.998
    smoothing: float = 0.1
    shift: int = 2
    mirror: bool = True
    width: int = 256

    @property
    def steps(self) -> int:
        """How many batches that is."""
        return max(1, round(self.images / self.batch))


def learn_classes(
    encoder: Encoder, images: Images, recipe: Recipe, *, seed: int, on_step: OnStep | None = None
) -> Encoder:
    """Train the encoder and its head to tell classes apart, by cross-entropy.

    Args:
        encoder: fresh, with a head; trained in place.
        images: with labels; at least two.
        recipe: how.
        seed: of the order and of the augmentation.
        on_step: called after each step with (steps done, steps in all).

    Returns:
        The average of the weights, ready to evaluate.
    """
    head = encoder.head
    if head is None or images.labels is None:
        raise ValueError("a classifier needs a head, and images with labels")
    labels = torch.from_numpy(images.labels.astype("int64"))

    def loss(x: Tensor, numbers: Tensor, step: int) -> Tensor:
        x = moved(x, recipe.shift, mirror=recipe.mirror, seed=seed, step=step)
        scores = head(encoder(x))
        smoothing = recipe.smoothing
        return functional.cross_entropy(scores.float(), labels[numbers], label_smoothing=smoothing)

    optimizer = torch.optim.SGD(
        encoder.parameters(), recipe.rate, momentum=0.9, nesterov=True, weight_decay=recipe.decay
    )
    encoder.train()
    return _descend(encoder, optimizer, images, loss, recipe, seed, on_step)


def learn_views(
    encoder: Encoder, images: Images, recipe: Recipe, *, seed: int, on_step: OnStep | None = None
) -> Encoder:
    """Train the encoder without labels: it shall know two views of an image among many.

    The loss is SimCLR's (Chen et al. 2020) on a projection of the features; and from the features
    themselves a linear layer draws the view, small, so that they keep what all images share too.

    Args:
        encoder: fresh, without a head; trained in place.
        images: at least two.
        recipe: how.
        seed: of the order and of the views.
        on_step: called after each step with (steps done, steps in all).

    Returns:
        The average of the weights, ready to evaluate.
    """
    dimension, spec = encoder.settings.dimension, images.spec
    side = min(spec.height, DRAWN), min(spec.width, DRAWN)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(random.key(seed, "projection weights")[0])
        project = nn.Sequential(
            nn.Linear(dimension, recipe.width, bias=False),
            nn.BatchNorm1d(recipe.width),
            nn.ReLU(),
            nn.Linear(recipe.width, recipe.width),
        )
        draw = nn.Linear(dimension, spec.channels * side[0] * side[1])

    def loss(x: Tensor, numbers: Tensor, step: int) -> Tensor:
        views = [viewed(x, seed=seed, step=step, purpose=f"{name} view") for name in ("a", "b")]
        both = torch.cat(views)
        features = encoder(both).float()
        small = functional.adaptive_avg_pool2d(both, side).flatten(1)
        drawn = functional.mse_loss(draw(features).float(), small)
        first, second = project(features).float().chunk(2)
        return contrast(first, second) + DRAWING * drawn

    modules = nn.ModuleList([encoder, project, draw]).train()
    optimizer = torch.optim.AdamW(modules.parameters(), recipe.rate, weight_decay=recipe.decay)
    return _descend(encoder, optimizer, images, loss, recipe, seed, on_step)


def contrast(
    first: Float[Tensor, "n d"], second: Float[Tensor, "n d"], temperature: float = 0.2
) -> Float[Tensor, ""]:
    """The normalised, temperature-scaled cross-entropy of Chen et al. 2020, equation 1.

    Args:
        first: one view of n images.
        second: another view of the same.
        temperature: of the similarities, which are cosines.
    """
    views = functional.normalize(torch.cat((first, second)), dim=1)
    similar = views @ views.T / temperature
    similar = similar - torch.diag(torch.full((len(views),), torch.inf))
    count = len(first)
    other = torch.cat((torch.arange(count, 2 * count), torch.arange(count)))
    return functional.cross_entropy(similar, other)


def one_cycle(share: float, warm_up: float) -> float:
    """The learning rate, as a part of the highest, when `share` of all steps is done."""
    return share / warm_up if share < warm_up else (1 - share) / (1 - warm_up)


@heap.kept()
def _descend(
    encoder: Encoder,
    optimizer: torch.optim.Optimizer,
    images: Images,
    loss: Loss,
    recipe: Recipe,
    seed: int,
    on_step: OnStep | None,
) -> Encoder:
    """All steps of the recipe; the average of the encoder's weights comes back."""
    average = copy.deepcopy(encoder).eval().requires_grad_(False)
    dtype = device.autocast_type(CPU)
    for step in range(recipe.steps):
        numbers = batch(step * recipe.batch, recipe.batch, len(images), seed)
        x = to_model(images[numbers], images.spec)
        # Half a step later, so that neither the first step nor the last is lost.
        share = (step + 0.5) / recipe.steps
        optimizer.param_groups[0]["lr"] = recipe.rate * one_cycle(share, recipe.warm_up)
        optimizer.zero_grad()
        with device.autocast(CPU, dtype):
            value = loss(x, torch.from_numpy(numbers), step)
        value.backward()
        optimizer.step()
        _follow(average, encoder, min(recipe.average, (1 + step) / (10 + step)))
        if on_step:
            on_step(step + 1, recipe.steps)
    return average


@torch.no_grad()
def _follow(average: Encoder, encoder: Encoder, factor: float) -> None:
    """Move the average towards the encoder: weights, and batch norm's means and variances."""
    kept, current = average.state_dict(), encoder.state_dict()
    names = [name for name, value in kept.items() if value.is_floating_point()]
    torch._foreach_lerp_(
        [kept[name] for name in names], [current[name] for name in names], 1 - factor
    )
