"""A small data set and network, so that a whole run takes a second; what its tests share."""

import contextlib
import json
import shutil

import numpy as np
import torch

from in_steps import IN_STEPS

TINY = (
    "network.width=8",
    "network.multipliers=[1]",
    "network.attention=[]",
    "network.heads=1",
    *IN_STEPS,
    "network.blocks=1",
    "training.batch=16",
    "training.reports=4",
    "training.keep=9",
    "training.validation_share=1",
    "optimizer.warm_up=3",
    "schedule.steps=50",
    "sampling.steps=5",
)


def make_pictures(path):
    """60 grey images of 8x8 with labels of three classes, in an .npz file."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 60)
    images = np.zeros((60, 8, 8), np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[2 * label : 2 * label + 3] = rng.integers(100, 255)
    np.savez(path, images=images, labels=labels)
    return path


def copy_of(run, place, pictures):
    """A copy of a run, to be changed, which learnt from such pictures elsewhere."""
    shutil.copytree(run, place)
    config = json.loads((place / "config.json").read_text())
    config["settings"]["data"]["source"] = str(pictures)
    (place / "config.json").write_text(json.dumps(config))
    return place


@contextlib.contextmanager
def one_thread():
    """Small networks gain nothing from a second thread, and wait for it where cores are busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
