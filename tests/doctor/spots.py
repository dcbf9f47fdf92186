"""Pictures that no Gaussian describes, and settings that learn them within seconds."""

import numpy as np

from in_steps import IN_STEPS

SMALL = (
    *(
        "network.width=16",
        "network.multipliers=[1]",
        "network.attention=[]",
        "network.heads=1",
        "network.blocks=1",
    ),
    *("training.batch=32", "optimizer.learning_rate=0.004", "optimizer.warm_up=20"),
    *("training.device=cpu", "training.precision=float32", "training.reports=2"),
    *IN_STEPS,
)


def draw_spots(count, seed):
    """A bright spot at the left or at the right, of random size, place and brightness; labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    y, x = np.mgrid[0:8, 0:8]
    centre_y = rng.uniform(1, 6, (count, 1, 1))
    centre_x = rng.uniform(0, 3, (count, 1, 1)) + 4 * labels[:, None, None]
    size = rng.uniform(0.8, 2.0, (count, 1, 1))
    spot = np.exp(-((y - centre_y) ** 2 + (x - centre_x) ** 2) / (2 * size**2))
    values = rng.uniform(100, 250, (count, 1, 1)) * spot + rng.normal(0, 4, spot.shape)
    return values.clip(0, 255).astype(np.uint8)[..., None], labels
