"""The space of the papers' FID: Inception-v3's last pooling, by torch-fidelity."""

import hashlib
import io
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int, Shaped

from loang import device, heap
from loang.data.download import fetch
from loang.data.environment import cache_folder, offline
from loang.data.images import Images
from loang.data.resize import convert_channels
from loang.data.scaling import to_model, to_pixels
from loang.data.spec import ImageSpec
from loang.errors import LoangError
from loang.untrusted import read_bytes

VARIABLE = "LOANG_INCEPTION"
FILE = "weights-inception-2015-12-05-6726825d.pth"
URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{FILE}"
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
SIZE = 95_628_359
BATCH = 32


class InceptionFeatures:
    """2,048 features of the Inception network that FID is defined by (Heusel et al. 2017).

    The network and its resizing are torch-fidelity's, which agree with TensorFlow's. It runs on
    the graphics processor where there is one; two processor cores take about a minute for 1,000
    images.

    Raises:
        LoangError: torch-fidelity is not installed, or the weights are not there, can't be
            fetched, or are no such weights.
    """

    name = "inception-v3"
    dimension = 2048
    preprocessing = "8 bits; RGB, grey repeated; bilinear to 299x299 as TensorFlow 1 resized"

    def __init__(self) -> None:
        fidelity = _torch_fidelity()
        path = _weights_file()
        self._device = device.choose()
        try:
            # The one pickle that loang ever reads, so it is read only if it is, byte for byte, the
            # file that was published; and even then as tensors alone.
            content = read_bytes(path, largest=2 * SIZE)
            self.digest = hashlib.sha256(content).hexdigest()
            if self.digest != SHA256:
                raise ValueError("it is not the file that was published")
            self._network = _build(fidelity, content).to(self._device)
        except (OSError, RuntimeError, ValueError) as error:
            raise LoangError(
                f"{path} holds no weights of the Inception network: "
                f"{str(error).partition(chr(10))[0].rstrip('.')}.",
                f"Delete it to have it fetched again, or put {FILE} there, from {URL}",
            ) from error
        self.about: Mapping[str, Any] = {
            "weights": path.name,
            "torch_fidelity": fidelity.__version__,
        }

    @heap.kept()
    @device.full_precision(convolutions=True)
    @torch.inference_mode()
    def __call__(
        self,
        pixels: Shaped[np.ndarray, "n h w c"],
        spec: ImageSpec,
        on_step: Callable[[int, int], None] | None = None,
    ) -> Float32[np.ndarray, "n 2048"]:
        """One feature vector an image.

        Args:
            pixels: images at the spec's depth.
            spec: what they are.
            on_step: called after each batch with (images done, images in all).

        Raises:
            LoangError: the images have another number of channels than 1, 3 or 4.
        """
        features = np.empty((len(pixels), self.dimension), np.float32)
        for start in range(0, len(pixels), BATCH):
            x = torch.from_numpy(eight_bit(Images(pixels[start : start + BATCH], spec)))
            (found,) = self._network(x.permute(0, 3, 1, 2).to(self._device))
            features[start : start + BATCH] = found.cpu().numpy()
            if on_step:
                on_step(min(start + BATCH, len(pixels)), len(pixels))
        return features

    def classify(
        self, pixels: Shaped[np.ndarray, "n h w c"], spec: ImageSpec
    ) -> Int[np.ndarray, " n"] | None:
        """None: ImageNet's classes are not those of the images."""
        return None


def eight_bit(images: Images) -> Shaped[np.ndarray, "n h w 3"]:
    """RGB in 0..255, whatever depth and range the images have.

    Raises:
        LoangError: they have another number of channels than 1, 3 or 4.
    """
    if images.spec.channels not in (1, 3, 4):
        raise LoangError(
            f"Inception sees RGB, and these images have {images.spec.channels} channels.",
            "Choose --features own.",
        )
    coloured = convert_channels(images, 3)
    target = replace(coloured.spec, depth="uint8", low=0.0, high=255.0)
    return to_pixels(to_model(coloured.pixels, coloured.spec), target)


def _torch_fidelity() -> ModuleType:
    try:
        return import_module("torch_fidelity")
    except (ImportError, RuntimeError) as error:  # torchvision of another torch: RuntimeError
        reason = str(error).partition("\n")[0].rstrip(".")
        raise LoangError(
            f"Inception features need torch-fidelity, which can't be imported: {reason}.",
            'Install it with pip install "loang[fid]" (torchvision must be of torch\'s version '
            "and kind), or choose other --features.",
        ) from error


def _weights_file() -> Path:
    named = os.environ.get(VARIABLE)
    if named:
        path = Path(named).expanduser()
        if not path.is_file():
            raise LoangError(
                f"{VARIABLE} names {path}, where there is no file.",
                f"Put {FILE} there, from {URL}, or leave {VARIABLE} away.",
            )
        return path
    path = cache_folder() / "features" / FILE
    places = (path, Path(torch.hub.get_dir()) / "checkpoints" / FILE)  # torch-fidelity's own
    for place in places:
        if place.is_file():
            return place
    reason = "downloading is switched off"
    if not offline():
        try:
            fetch([URL], path, sha256=SHA256, size=SIZE)
            return path
        except LoangError as error:
            reason = error.problem.rstrip(".")
    raise LoangError(
        f"The weights of the Inception network are not here: {reason}.",
        f"Fetch {URL} where there is a network, and put it at {path}, or name the file in "
        f"{VARIABLE}.",
    )


def _build(fidelity: ModuleType, content: bytes) -> torch.nn.Module:
    """The network, of weights that are read as tensors and nothing else."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # it wonders at other pickles' protocols
            weights = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # of many kinds, down to those of pickle itself
        raise ValueError(str(error)) from error
    if not isinstance(weights, dict) or not all(
        isinstance(v, torch.Tensor) for v in weights.values()
    ):
        raise ValueError("it is not a table of named tensors")
    # torch-fidelity would unpickle whatever a file says. It is given a buffer that holds what was
    # just read, and no more.
    safe = io.BytesIO()
    torch.save({str(name): value for name, value in weights.items()}, safe)
    safe.seek(0)
    network: torch.nn.Module = fidelity.FeatureExtractorInceptionV3(
        "inception-v3-compat", ["2048"], feature_extractor_weights_path=safe
    )
    return network
