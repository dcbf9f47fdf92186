import numpy as np
import pytest
import torch

from loang.metrics.features.augment import moved, viewed


def test_every_shift_and_mirror_image_and_nothing_else() -> None:
    """5 x 5 shifts and two sides: 50 images, each found in 3,000 draws as often as chance says."""
    image = np.arange(7 * 6, dtype=np.float32).reshape(7, 6)
    possible = {}
    for mirrored, source in enumerate((image, image[:, ::-1])):
        around = np.pad(source, 2, mode="edge")
        for top in range(5):
            for left in range(5):
                window = around[top : top + 7, left : left + 6]
                possible[window.tobytes()] = (mirrored, top, left)
    assert len(possible) == 50
    x = torch.from_numpy(image).expand(3000, 1, 7, 6)
    drawn = moved(x, 2, mirror=True, seed=0, step=0)[:, 0].numpy()
    counts = dict.fromkeys(possible, 0)
    for one in drawn:
        counts[np.ascontiguousarray(one).tobytes()] += 1
    expected = 3000 / 50
    chi_squared = sum((count - expected) ** 2 / expected for count in counts.values())
    assert chi_squared < 85.4  # 99.9 % of chi squared with 49 degrees of freedom


def test_no_shift_and_no_mirror_is_the_image() -> None:
    x = torch.randn(4, 3, 5, 6, generator=torch.Generator().manual_seed(0))
    assert torch.equal(moved(x, 0, mirror=False, seed=0, step=0), x)


@pytest.mark.parametrize("change", ["moved", "viewed"])
def test_depends_on_seed_and_step_alone(change: str) -> None:
    x = torch.randn(8, 1, 9, 9, generator=torch.Generator().manual_seed(0))

    def draw(seed: int, step: int) -> torch.Tensor:
        if change == "moved":
            return moved(x, 2, mirror=True, seed=seed, step=step)
        return viewed(x, seed=seed, step=step, purpose="a")

    state = torch.random.get_rng_state()
    assert torch.equal(draw(0, 0), draw(0, 0))
    assert not torch.equal(draw(0, 0), draw(0, 1))
    assert not torch.equal(draw(0, 0), draw(1, 0))
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_view_of_a_ramp_is_a_ramp_of_the_window() -> None:
    """On x = column the view's slope is side * gain, its sign that of mirroring."""
    n = 2000
    x = torch.linspace(-0.5, 0.5, 21).expand(n, 1, 21, 21)
    seen = viewed(x, seed=0, step=0, purpose="a")[:, 0]
    assert float((seen - seen[:, :1]).abs().max()) < 1e-5  # no row differs from another
    steps = seen[:, 10, 2:-2].diff(dim=1)
    slopes = steps.mean(1)
    assert float((steps - slopes[:, None]).abs().max()) < 1e-4
    sizes = slopes.abs() / 0.05
    assert 0.7 * 0.7 - 0.01 <= float(sizes.min()) < 0.6
    assert 1.2 < float(sizes.max()) <= 1.3 + 0.01
    assert 0.45 < float((slopes < 0).double().mean()) < 0.55


def test_contrast_and_brightness_stay_within_what_is_said() -> None:
    """A constant image v becomes gain * v + bias."""
    zeros = viewed(torch.zeros(2000, 1, 4, 4), seed=0, step=0, purpose="a")
    assert 0.19 < float(zeros.max()) <= 0.2
    assert -0.2 <= float(zeros.min()) < -0.19
    ones = viewed(torch.ones(2000, 1, 4, 4), seed=0, step=0, purpose="a") - zeros
    assert 1.28 < float(ones.max()) <= 1.3001
    assert 0.6999 <= float(ones.min()) < 0.72
    assert float(np.corrcoef(zeros[:, 0, 0, 0], ones[:, 0, 0, 0])[0, 1]) < 0.1
