"""A feature space that an encoder spans, and the file that keeps it."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Int, Shaped
from torch import Tensor

from loang import heap, tensors, untrusted
from loang.data.images import Images
from loang.data.spec import ImageSpec
from loang.metrics.features.encoder import Encoder, EncoderSettings, fuse

BATCH = 128
_METADATA = "loang"


@dataclass(frozen=True)
class NetworkFeatures:
    """Features of an encoder, and its classes where it has a head.

    Computed in float32 on the processor: the same images give the same features, up to the last
    bits, which depend on the machine.

    Args:
        name: for instance `fashion-v1`.
        digest: SHA-256 of the weights, in hexadecimal.
        preprocessing: one line on what is done to images first.
        encoder: fused.
        prepare: images as the encoder takes them, in [-1, 1].
        about: where the encoder comes from: plain values for JSON.
    """

    name: str
    digest: str
    preprocessing: str
    encoder: Encoder
    prepare: Callable[[Images], Float[Tensor, "n c h w"]]
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def dimension(self) -> int:
        """Of one feature vector."""
        return self.encoder.settings.dimension

    @heap.kept()
    @torch.inference_mode()
    def __call__(
        self,
        pixels: Shaped[np.ndarray, "n h w c"],
        spec: ImageSpec,
        on_step: Callable[[int, int], None] | None = None,
    ) -> Float32[np.ndarray, "n d"]:
        """One feature vector an image.

        Args:
            pixels: images at the spec's depth.
            spec: what they are.
            on_step: called after each batch with (images done, images in all).

        Raises:
            LoangError: the images can't be brought to the encoder's channels.
        """
        features = np.empty((len(pixels), self.dimension), np.float32)
        for start in range(0, len(pixels), BATCH):
            images = Images(pixels[start : start + BATCH], spec)
            features[start : start + BATCH] = self.encoder(self.prepare(images)).numpy()
            if on_step:
                on_step(min(start + BATCH, len(pixels)), len(pixels))
        return features

    def classify(
        self, pixels: Shaped[np.ndarray, "n h w c"], spec: ImageSpec
    ) -> Int[np.ndarray, " n"] | None:
        """The most probable class of each image; None where the encoder learned without labels."""
        return None if self.encoder.head is None else self.classes_of(self(pixels, spec))

    def classes_of(self, features: Float32[np.ndarray, "n d"]) -> Int[np.ndarray, " n"] | None:
        """The same of images whose features are known already."""
        if self.encoder.head is None:
            return None
        with torch.inference_mode():
            scores: Tensor = self.encoder.head(torch.from_numpy(features))
        return scores.argmax(1).numpy()


def save(path: Path, encoder: Encoder, about: Mapping[str, Any], depth: torch.dtype) -> None:
    """Write a fused encoder, with what is known about it in the file's metadata.

    Args:
        path: the file.
        encoder: fused.
        about: plain values for JSON.
        depth: torch.float32 or torch.float16; of the weights in the file.

    Raises:
        OSError: the system refuses.
    """
    weights = {name: value.to(depth) for name, value in encoder.state_dict().items()}
    header = {"about": dict(about), "encoder": asdict(encoder.settings)}
    tensors.save(path, weights, {_METADATA: json.dumps(header)})


def load(path: Path) -> tuple[Encoder, dict[str, Any]]:
    """A fused encoder that computes in float32, and what is known about it.

    Raises:
        ValueError: there is no such file, or it holds no encoder.
    """
    try:
        stored = tensors.look(path)
        header = untrusted.parse_json(stored.metadata.get(_METADATA, ""))
        settings = EncoderSettings.from_dict(header.get("encoder"))
        about = header.get("about")
        if not isinstance(about, dict):
            raise ValueError("it does not say where it comes from")
        # Before it is built: a few words can describe an encoder of any size.
        with torch.device("meta"):
            expected = fuse(Encoder(settings)).state_dict()
        if dict(stored.shapes) != {name: tuple(value.shape) for name, value in expected.items()}:
            raise ValueError("its weights are not those of its settings")
        encoder = fuse(Encoder(settings))
        encoder.load_state_dict({name: value.float() for name, value in stored.read().items()})
        return encoder, about
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{path} holds no encoder: {reason}") from error


def digest(encoder: Encoder) -> str:
    """SHA-256, in hexadecimal, of the weights: names, shapes and float32 values."""
    content = hashlib.sha256()
    for name, value in sorted(encoder.state_dict().items()):
        content.update(f"{name} {tuple(value.shape)}".encode())
        content.update(value.contiguous().numpy().astype("<f4").tobytes())
    return content.hexdigest()
