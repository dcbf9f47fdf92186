"""What a teacher says of a noisy image, guided where that is asked for."""

import torch
from jaxtyping import Float, Int, Real
from torch import Tensor

from loang.denoiser import Denoiser
from loang.guidance import away, rows_within


def image(
    denoiser: Denoiser,
    x_t: Float[Tensor, "n c h w"],
    t: Real[Tensor, " n"],
    label: Int[Tensor, " n"] | None,
    told: Float[Tensor, "n parameters"] | None = None,
) -> Float[Tensor, "n c h w"]:
    """The image that a denoiser sees at x_t."""
    return denoiser.read(denoiser.predict(x_t, t, label, told), x_t, t).x0


def guided(
    denoiser: Denoiser,
    x_t: Float[Tensor, "n c h w"],
    t: Real[Tensor, " n"],
    label: Int[Tensor, " n"] | None,
    told: Float[Tensor, "n parameters"] | None = None,
    *,
    scale: float,
    interval: tuple[float, float] | None = None,
) -> Float[Tensor, "n c h w"]:
    """The same, led away from what it sees without a label, as `Guided` does in a walk.

    Args:
        denoiser: it knows a label that hides them all.
        x_t: noisy images.
        t: their times.
        label: their labels; of one that is hidden the image stays what it was.
        told: how they were changed (augment.py).
        scale: 1 for none.
        interval: of noise / signal, in which it guides; None: everywhere.
    """
    rows = rows_within(denoiser.schedule, t, interval)
    if scale == 1 or label is None or len(rows) == 0:
        return image(denoiser, x_t, t, label, told)
    hidden = torch.full_like(label[rows], denoiser.classes)
    both = image(
        denoiser,
        torch.cat((x_t, x_t[rows])),
        torch.cat((t, t[rows])),
        torch.cat((label, hidden)),
        None if told is None else torch.cat((told, told[rows])),
    )
    own, weak = both[: len(t)], both[len(t) :]
    led = away(weak, own[rows], scale)
    if denoiser.clip:
        led = led.clamp(-1, 1)
    return own.index_copy(0, rows, led)
