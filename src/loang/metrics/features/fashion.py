"""The space fashion-v1: what a classifier of Fashion-MNIST sees before it decides."""

from importlib.resources import as_file, files
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from loang.data.images import Images
from loang.data.places.fashion_mnist import CLASS_NAMES
from loang.data.resize import convert_channels, resize
from loang.data.scaling import to_model
from loang.data.spec import ImageSpec
from loang.errors import LoangError
from loang.files import sha256
from loang.metrics.features.network import NetworkFeatures, load

NAME = "fashion-v1"
ASSET = "fashion-features.safetensors"
DIGEST = "b5f4dc3477e5e4ad9796176df5e80edb999abf4f56134f5832f5a2f1f7c11ae3"
"""Of the asset. Scores of one digest can be compared, so another network is another version."""

SIDE = 28
PREPROCESSING = (
    "grey; scaled to cover 28x28 (bilinear, antialiased) and cropped; the range to [-1, 1]"
)


def fashion_features() -> NetworkFeatures:
    """64 features of a classifier that was trained on Fashion-MNIST's 60,000 training images.

    `scripts/train_fashion_features.py` made it; `about` says how, and how well it classifies.

    Raises:
        LoangError: the installed file is damaged or missing.
    """
    with as_file(files("loang").joinpath("assets", ASSET)) as path:
        return _read(path)


def shows_fashion(spec: ImageSpec) -> bool:
    """Whether images are Fashion-MNIST's, by their class names and channels."""
    return spec.class_names == CLASS_NAMES and spec.channels == 1


def prepare(images: Images) -> Float[Tensor, "n 1 28 28"]:
    """Images of any size, depth and usual number of channels as the classifier takes them.

    Raises:
        LoangError: they have another number of channels than 1, 3 or 4.
    """
    if images.spec.channels not in (1, 3, 4):
        raise LoangError(
            f"{NAME} sees grey, RGB and RGBA, and these images have {images.spec.channels} "
            "channels.",
            "Choose --features own.",
        )
    images = resize(convert_channels(images, 1), SIDE, SIDE)
    return to_model(images.pixels, images.spec)


def _read(path: Path) -> NetworkFeatures:
    try:
        found = sha256(path)
        if found != DIGEST:
            raise ValueError(f"its SHA-256 is {found}, not {DIGEST}")
        encoder, about = load(path)
    except (OSError, ValueError) as error:
        raise LoangError(
            f"The feature network inside the installed package is damaged: {error}.",
            "Install loang again, for instance with pip install --force-reinstall loang.",
        ) from error
    return NetworkFeatures(NAME, DIGEST, PREPROCESSING, encoder, prepare, about)
