"""Training an encoder: as a classifier where images have labels, from two views of each else."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from loang import device, random
from loang.data.images import Images
from loang.data.order import batch
from loang.data.scaling import to_model
from loang.metrics.features.augment import moved, viewed
from loang.metrics.features.encoder import Encoder

OnStep = Callable[[int, int], None]
Loss = Callable[[Float[Tensor, "n c h w"], Int[Tensor, " n"], int], Float[Tensor, ""]]
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Recipe:
    """How an encoder is trained.

    Args:
        images: seen in all.
        batch: images a step.
        rate: the highest learning rate, reached after `warm_up` of all steps.
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

    return _descend(encoder, encoder, images, loss, recipe, seed, on_step)


def learn_views(
    encoder: Encoder, images: Images, recipe: Recipe, *, seed: int, on_step: OnStep | None = None
) -> Encoder:
    """Train the encoder without labels: two views of an image shall look alike to it.

    The loss is VICReg's (Bardes et al. 2022), on a projection of the features.

    Args:
        encoder: fresh, without a head; trained in place.
        images: at least two.
        recipe: how.
        seed: of the order and of the views.
        on_step: called after each step with (steps done, steps in all).

    Returns:
        The average of the weights, ready to evaluate.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(random.key(seed, "projection weights")[0])
        project = nn.Sequential(
            nn.Linear(encoder.settings.dimension, recipe.width, bias=False),
            nn.BatchNorm1d(recipe.width),
            nn.ReLU(),
            nn.Linear(recipe.width, recipe.width),
        )

    def loss(x: Tensor, numbers: Tensor, step: int) -> Tensor:
        views = [viewed(x, seed=seed, step=step, purpose=f"{name} view") for name in ("a", "b")]
        projected = project(encoder(torch.cat(views)))
        first, second = projected.float().chunk(2)
        return vicreg(first, second)

    both = nn.ModuleList([encoder, project])
    return _descend(encoder, both, images, loss, recipe, seed, on_step)


def vicreg(first: Float[Tensor, "n d"], second: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """25 invariance + 25 variance + covariance: Bardes et al. 2022, equations 1 to 6.

    Args:
        first: one view of n images, 2 or more.
        second: another view of the same.
    """
    invariance = functional.mse_loss(first, second)
    spread = correlation = torch.zeros(())
    for view in (first, second):
        covariance = view.T.cov()
        deviations = (covariance.diagonal() + 1e-4).sqrt()
        spread = spread + (1 - deviations).relu().mean() / 2
        off = covariance - covariance.diagonal().diag()
        correlation = correlation + off.square().sum() / view.shape[1]
    return 25 * invariance + 25 * spread + correlation


def one_cycle(share: float, warm_up: float) -> float:
    """The learning rate, as a part of the highest, when `share` of all steps is done."""
    return share / warm_up if share < warm_up else (1 - share) / (1 - warm_up)


def _descend(
    encoder: Encoder,
    trained: nn.Module,
    images: Images,
    loss: Loss,
    recipe: Recipe,
    seed: int,
    on_step: OnStep | None,
) -> Encoder:
    """Stochastic gradient descent with Nesterov's momentum; the encoder's average comes back."""
    optimizer = torch.optim.SGD(
        trained.parameters(), recipe.rate, momentum=0.9, nesterov=True, weight_decay=recipe.decay
    )
    average = copy.deepcopy(encoder).eval().requires_grad_(False)
    dtype = device.autocast_type(CPU)
    trained.train()
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
