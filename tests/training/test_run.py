"""What a run does at its end."""

import numpy as np
import torch
from trainers import TINY

import loang
from loang.model import Model


def test_the_model_is_opened_on_the_very_device_that_it_was_trained_on(tmp_path, monkeypatch):
    """A name is no device of a job's process, and `cuda` is not always the GPU that was chosen."""
    load, opened = Model.load.__func__, []

    def listening(cls, path, *, on="auto"):
        opened.append(on)
        return load(cls, path, on=on)

    monkeypatch.setattr(Model, "load", classmethod(listening))
    pixels = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), np.uint8)
    changes = [*TINY, "evaluation.guidance_samples=0"]
    model = loang.train(
        pixels, out=tmp_path / "run", budget="32 images", changes=changes, device="cpu"
    )
    assert opened[-1] == torch.device("cpu") != str(opened[-1])
    assert model.device == opened[-1]
