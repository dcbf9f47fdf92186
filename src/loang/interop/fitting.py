"""From settings and another tool's weights to a model: every weight accounted for."""

from collections.abc import Callable, Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor

from loang import build
from loang.config import Settings
from loang.data.spec import ImageSpec
from loang.errors import LoangError
from loang.interop.foreign import Foreign
from loang.model import Model
from loang.untrusted import shown

Shape = tuple[int, ...]


def fitted(
    found: Foreign,
    names: Mapping[str, str],
    settings: Settings,
    spec: ImageSpec,
    facts: Mapping[str, Any],
    changed: Callable[[str, Float[Tensor, "..."]], Float[Tensor, "..."]] | None = None,
) -> Model:
    """The model of these settings, with the weights of a file.

    Args:
        found: the file.
        names: of its weights, each with that of the network's own.
        settings: that describe the network.
        spec: of the images.
        facts: where it comes from.
        changed: what is made of a weight, by its own name; it has then the network's shape.

    Raises:
        LoangError: a weight is missing, one too many, or of another shape; or as `Foreign.read`.
    """
    try:
        spec.check_size()
        expected = build.weight_shapes(settings, spec)
    except ValueError as error:
        raise LoangError(
            f"{found.path} describes a network that can't be: {error}.", "Name another file."
        ) from error
    own = {new: old for old, new in names.items()}
    if len(own) < len(names):
        raise _other(found, "two of its weights have one place")
    odd = next((name for name in sorted(own.keys() ^ expected.keys())), None)
    if odd is not None:
        called = f"has {shown(own[odd])}, which it has not" if odd in own else f"lacks {odd}"
        raise _other(found, f"beside the network that its other weights describe, it {called}")
    for name, shape in expected.items():
        if _plain(found.shapes[own[name]]) != _plain(shape):
            raise _other(found, f"its {shown(own[name])} is of the shape {found.shapes[own[name]]}")
    weights = found.read(names)
    if changed is not None:
        weights = {name: changed(name, weight) for name, weight in weights.items()}
    denoiser = build.build_denoiser(settings, spec)
    denoiser.network.load_state_dict(
        {name: weight.reshape(expected[name]) for name, weight in weights.items()}
    )
    return Model(denoiser, spec, settings, facts)


def _plain(shape: Shape) -> Shape:
    """Without sides of 1 at the end: a convolution of a row of positions is one of a map."""
    while shape and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def _other(found: Foreign, reason: str) -> LoangError:
    return LoangError(
        f"{found.path} holds another network than loang knows of this library: {reason}.",
        "Name a file of the network that docs/neighbours.md describes.",
    )
