"""Noises are handed round so that images lie nearest to theirs, and only handed round."""

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from loang.training.pairing import assignment, nearest


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("count", [1, 2, 3, 7, 40, 64])
@pytest.mark.parametrize("kind", ["random", "images", "ties", "same"])
def test_the_assignment_is_the_best_that_there_is(count, kind):
    rng = np.random.default_rng(count)
    cost = {
        "random": rng.normal(size=(count, count)),
        "images": -rng.normal(size=(count, 1)) * rng.normal(size=(1, count)),
        "ties": rng.integers(0, 3, (count, count)).astype(float),
        "same": np.zeros((count, count)),
    }[kind]
    found = assignment(cost)
    assert sorted(found.tolist()) == list(range(count))
    best = cost[linear_sum_assignment(cost)].sum()
    assert cost[np.arange(count), found].sum() == pytest.approx(best, abs=1e-9)
    if kind == "random":
        assert found.tolist() == linear_sum_assignment(cost)[1].tolist()


def test_an_empty_assignment_is_empty():
    assert len(assignment(np.zeros((0, 0)))) == 0


def test_pairs_are_the_nearest_in_sum_of_squares():
    x0, eps = normal(0, 24, 3, 4, 4).tanh(), normal(1, 24, 3, 4, 4)
    order = nearest(x0, eps, None)
    squared = torch.cdist(x0.flatten(1).double(), eps.flatten(1).double()).square().numpy()
    assert order.tolist() == linear_sum_assignment(squared)[1].tolist()
    assert order.tolist() != list(range(24))
    before = (x0 - eps).square().sum()
    assert float((x0 - eps[order]).square().sum()) < float(before)


def test_noises_are_handed_round_among_images_of_one_label_only():
    x0, eps = normal(0, 30, 1, 4, 4), normal(1, 30, 1, 4, 4)
    label = torch.arange(30) % 3
    order = nearest(x0, eps, label)
    assert torch.equal(label[order], label)
    for of in range(3):
        members = (label == of).nonzero()[:, 0]
        alone = nearest(x0[members], eps[members], None)
        assert torch.equal(order[members], members[alone])
    # So the noises of a label are still those that were drawn for it.
    assert sorted(order.tolist()) == list(range(30))


def test_noises_are_handed_round_among_images_that_were_changed_alike_only():
    """Else what a network is told of the change would tell it of the noise."""
    x0, eps = normal(0, 60, 1, 4, 4), normal(1, 60, 1, 4, 4)
    label = torch.arange(60) % 2
    told = torch.stack([torch.arange(60) % 3 == 0, torch.arange(60) % 5 == 0], dim=1).float()
    x0[:, :, :, :2] += 3 * told[:, 0, None, None, None]  # what is told is seen in the image
    order = nearest(x0, eps, label, told)
    assert torch.equal(told[order], told)
    assert torch.equal(label[order], label)
    assert sorted(order.tolist()) == list(range(60))
    alike = ((label == 1) & (told == torch.tensor([1.0, 0.0])).all(1)).nonzero()[:, 0]
    assert len(alike) > 4
    assert torch.equal(order[alike], alike[nearest(x0[alike], eps[alike], None)])


def test_pairing_is_not_rounded_by_autocast():
    # Images that hardly differ: half of the digits do not tell them apart.
    x0, eps = 0.9 + normal(0, 24, 3, 8, 8) / 1000, normal(1, 24, 3, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = nearest(x0, eps, None)
    assert torch.equal(rounded, nearest(x0, eps, None))
