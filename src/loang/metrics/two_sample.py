"""The classifier two-sample test: can a small network tell samples from real images?"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor
from torch.nn import functional

from loang import random
from loang.metrics.estimate import Estimate, share
from loang.metrics.rows import check, shuffled

_LEAST = 10
_HIDDEN = 64
_STEPS, _PATIENCE, _EVERY = 200, 40, 5
_RATE = 3e-3
_VALIDATION = 5
"""One in so many of the images to learn from is kept to say when to stop."""


@dataclass(frozen=True)
class TwoSample:
    """What the classifier could tell.

    Args:
        accuracy: on images that it did not learn from; 0.5 where the sets are indistinguishable,
            1 where each image can be told.
        p_value: how probable such an accuracy or a higher one is where the distributions are
            equal.
    """

    accuracy: Estimate
    p_value: float


def two_sample_test(
    samples: Float[np.ndarray, "n d"], reference: Float[np.ndarray, "m d"], *, seed: int = 0
) -> TwoSample:
    """Lopez-Paz and Oquab 2017: learn to separate half of the images, be judged on the others.

    As many images of each set are taken as the smaller has. The classifier is a ridge regression
    on the standardised features and their squares, to which a layer of 64 hidden units is added
    for as long as that helps on images kept aside. The regression finds shifts and scales, the
    layer what is not Gaussian; alone, either missed what the other found.

    The accuracy's error is that of a share of the images judged, with the classifier as it is. The
    p-value is one-sided, by the binomial's normal approximation with a continuity correction: an
    image is judged right by a fair coin where the distributions are equal. It holds only for
    images that are independent: neither a test on images that the features were learned from,
    nor copies within a set. A high p-value means that this classifier found nothing.

    Args:
        samples: features of generated images; 10 or more.
        reference: features of real images; 10 or more.
        seed: of the halves and of the first weights.

    Raises:
        ValueError: fewer than 10 images, different numbers of features, or features that are not
            finite.
    """
    check(samples, reference, least=_LEAST)
    count = min(len(samples), len(reference))
    a, b = (
        features[shuffled(len(features), seed=seed, purpose=f"metrics/two-sample/{name}")[:count]]
        for name, features in (("samples", samples), ("reference", reference))
    )
    half = count // 2
    seen, judged = _described(
        np.concatenate((a[:half], b[:half])), np.concatenate((a[half:], b[half:]))
    )
    is_sample = torch.arange(len(judged)) < count - half
    right = (_scores(seen, judged, seed) > 0) == is_sample
    return TwoSample(share(int(right.sum()), len(judged)), _p_value(int(right.sum()), len(judged)))


def _p_value(right: int, judged: int) -> float:
    """Of `right` or more heads of a fair coin: half an image less, as numbers are whole."""
    deviations = (right - 0.5 - judged / 2) / math.sqrt(judged / 4)
    return 0.5 * math.erfc(deviations / math.sqrt(2))


def _described(
    seen: Float[np.ndarray, "s d"], judged: Float[np.ndarray, "j d"]
) -> tuple[Float32[Tensor, "s e"], Float32[Tensor, "j e"]]:
    """Features and their squares, all of mean 0 and deviation 1 on the images seen."""
    x, y = _standardised(torch.from_numpy(seen).double(), torch.from_numpy(judged).double())
    x, y = _standardised(torch.cat((x, x.square()), dim=1), torch.cat((y, y.square()), dim=1))
    return x.float(), y.float()


def _standardised(seen: Tensor, judged: Tensor) -> tuple[Tensor, Tensor]:
    deviation, mean = torch.std_mean(seen, dim=0)
    deviation[deviation == 0] = 1
    return (seen - mean) / deviation, (judged - mean) / deviation


@torch.enable_grad()
def _scores(
    seen: Float32[Tensor, "s e"], judged: Float32[Tensor, "j e"], seed: int
) -> Float32[Tensor, " j"]:
    """Above 0: a sample, says the classifier. The first half of `seen` are the samples."""
    label = (torch.arange(len(seen)) < len(seen) // 2).float()
    aside = torch.arange(len(seen)) % _VALIDATION == 0
    known, held, answer = seen[~aside], seen[aside], label[aside]
    truth = label[~aside]

    linear = _ridge(known, 2 * truth - 1)
    hidden = random.normal(
        (seen.shape[1],),
        seed=seed,
        purpose="metrics/two-sample/weights",
        step=0,
        indices=torch.arange(_HIDDEN),
    ) / math.sqrt(seen.shape[1])
    # The output of the hidden layer starts at 0: the first score is the regression's.
    weights = [linear, hidden, torch.zeros(_HIDDEN), torch.zeros(_HIDDEN), torch.zeros(1)]
    for weight in weights:
        weight.requires_grad_()

    def score(x: Tensor) -> Tensor:
        linear, hidden, threshold, output, bias = weights
        return x @ linear + functional.silu(x @ hidden.T + threshold) @ output + bias

    optimizer = torch.optim.AdamW(weights, lr=_RATE)
    best, chosen, best_step = math.inf, judged.new_zeros(len(judged)), 0
    for step in range(_STEPS + 1):
        if step % _EVERY == 0:
            with torch.no_grad():
                loss = float(functional.binary_cross_entropy_with_logits(score(held), answer))
                if loss < best:
                    best, chosen, best_step = loss, score(judged), step
            if step >= best_step + _PATIENCE:
                break
        optimizer.zero_grad()
        functional.binary_cross_entropy_with_logits(score(known), truth).backward()
        optimizer.step()
    return chosen


def _ridge(x: Float32[Tensor, "n e"], y: Float32[Tensor, " n"]) -> Float32[Tensor, " e"]:
    """Least squares with a penalty that grows as there are more numbers than images to find them.

    Twice the regression of ±1 is the logistic regression's weight where the sets differ little.
    """
    rows, columns = x.shape
    normal = (x.T @ x) / rows + columns / rows * torch.eye(columns)
    return 2 * torch.linalg.solve(normal, x.T @ y / rows)
