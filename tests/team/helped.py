"""What each process of a job does in `test_helping.py`: two models in turn, then one by a third."""

import numpy as np
import torch

from answering import answering
from loang import helping, presets
from loang.config import changed
from loang.data import ImageSpec

torch.set_num_threads(1)
TINY = (
    *("network.width=8", "network.multipliers=[1]", "network.heads=1", "network.attention=[]"),
    *("network.blocks=1", "sampling.steps=1", "training.precision=float32"),
)


def made(number):
    model = answering(changed(presets.quick(), TINY), ImageSpec(8, 8, 1))
    with torch.no_grad():
        next(iter(model.denoiser.network.parameters())).add_(0.1 * number)
    return model


with helping.together() as leads:
    if leads:
        first, second, third = map(made, range(3))
        plain = first.settings.sampling.model_copy(update={"guidance": 1.0})
        guided = plain.model_copy(update={"guidance": 1.5})
        for model, guide in ((first, None), (second, None), (first, third), (third, first)):
            asked = {"sampling": guided if guide else plain, "guide": guide}
            drawn = helping.sample(model, 3, batch=2, **asked)
            assert np.abs(drawn - 1.0 * model.sample(3, **asked)).max() <= 1

print("all is well")
