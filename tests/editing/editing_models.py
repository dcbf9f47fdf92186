"""Small models of every schedule and depth, exact denoisers, and pictures for them."""

import numpy as np
import torch

from answering import answering
from in_steps import IN_STEPS
from loang import presets
from loang.config import changed
from loang.data.spec import ImageSpec
from loang.denoiser import Estimate
from loang.process import like

GREY = ImageSpec(8, 8, 1, class_names=("boot", "bag"))
DEEP = ImageSpec(6, 10, 3, "uint16", 0.0, 4095.0)
REAL = ImageSpec(8, 6, 2, "float32", -3.0, 5.5)
SPECS = {"grey": GREY, "deep": DEEP, "real": REAL}
SCHEDULES = {
    "cosine": ("schedule.kind=cosine", "denoiser.predicts=v"),
    "edm": ("schedule.kind=edm", "denoiser.predicts=edm"),
    "flow": ("schedule.kind=flow", "denoiser.predicts=flow"),
}

WALKS = {
    "leaps": ("sampling.sampler=ddim", "sampling.steps=2", "sampling.levels=1000,500,0"),
    "consistency": ("sampling.sampler=consistency", "sampling.steps=2"),
}


def model_of(spec=GREY, schedule="cosine", *changes):
    """Untrained, and with weights that answer something."""
    network = ("network.width=8", "network.multipliers=1,1", "network.heads=1")
    wishes = [*network, "sampling.steps=6", *IN_STEPS, *SCHEDULES[schedule], *changes]
    settings = changed(presets.quick(), wishes)
    return answering(settings, spec)


def student_of(method):
    """A model that says of itself that it was distilled."""
    model = model_of(GREY, "cosine", *WALKS[method])
    training = model.settings.training.model_copy(update={"objective": "consistency"})
    distillation = model.settings.distillation.model_copy(update={"method": method})
    found = {"training": training, "distillation": distillation}
    model.settings = model.settings.model_copy(update=found)
    return model


def pixels_of(spec, seed=0):
    """Values over the whole range, and of real numbers beyond it."""
    generator = np.random.default_rng(seed)
    shape = spec.height, spec.width, spec.channels
    if spec.depth == "float32":
        return generator.uniform(spec.low - 0.5, spec.high + 0.5, shape).astype(np.float32)
    return generator.integers(0, int(spec.high), shape, endpoint=True).astype(spec.depth)


class Gaussian:
    """The exact denoiser of data N(0, covariance) over an image's values."""

    def __init__(self, schedule, covariance):
        self.schedule = schedule
        self.variances, self.axes = torch.linalg.eigh(torch.as_tensor(covariance).double())
        self.asked = 0

    def __call__(self, x_t, t, label=None):
        self.asked += 1
        signal, noise = like(self.schedule.signal(t), x_t), like(self.schedule.noise(t), x_t)
        along = x_t.flatten(1) @ self.axes
        s, n = signal.flatten(1), noise.flatten(1)
        x0 = s * self.variances / (s**2 * self.variances + n**2) * along
        x0 = (x0 @ self.axes.T).reshape(x_t.shape)
        return Estimate(x0, (x_t - signal * x0) / noise)
