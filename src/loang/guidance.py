"""Guidance: away from what a weaker estimate sees, towards what the denoiser sees.

The weaker one is the same network with its label hidden (classifier-free guidance, Ho and Salimans
2022), or a worse model (autoguidance, Karras et al. 2024). With scale w the estimate of the image
is `weak + w * (own - weak)`, so 1 guides nothing and 0 is the weaker one.
"""

import torch
from jaxtyping import Float, Int, Int64, Real
from torch import Tensor

from loang import device, parameterization
from loang.denoiser import DenoiserLike, Estimate
from loang.errors import LoangError
from loang.process import like
from loang.sampling import check_interval
from loang.schedule import Schedule

POINTS = 33
"""Times at which two schedules are compared."""


class Guided:
    """A denoiser whose estimates are guided; to a sampler it is one like any other.

    Args:
        denoiser: what is guided.
        scale: 1 leaves the estimates alone, more exaggerates what sets them apart.
        interval: (low, high): only for low < noise / signal <= high; None guides everywhere.
            Elsewhere the denoiser alone is evaluated (Kynkäänniemi et al. 2024, eq. 5).
        rescale: 0..1, how far each image's standard deviation is put back to that of the
            unguided estimate (Lin et al. 2023, eq. 15-16, of the image).
        guide: a worse model of the same schedule, told the same label if it knows any; None hides
            the label from the denoiser itself.

    Raises:
        LoangError: the interval is reversed; there is neither a label to hide nor a guide; or the
            guide's schedule or classes are others.
    """

    def __init__(
        self,
        denoiser: DenoiserLike,
        scale: float,
        *,
        interval: tuple[float, float] | None = None,
        rescale: float = 0.0,
        guide: DenoiserLike | None = None,
    ) -> None:
        check_interval(interval)
        if guide is None and not getattr(denoiser, "hides_labels", True):
            raise LoangError(
                "This model has never seen an image without a label, which guidance would need.",
                "Leave --guidance away, or name a worse model of these images with --guide.",
            )
        if guide is None and not classes_of(denoiser):
            raise LoangError(
                "This model knows no classes, so there is no label that guidance could hide.",
                "Leave --guidance away, or name a worse model of these images with --guide.",
            )
        if guide is not None:
            check_guide(denoiser, guide)
        self.denoiser, self.guide = denoiser, guide
        self.scale, self.interval, self.rescale = scale, interval, rescale
        self._one_batch = True

    @property
    def schedule(self) -> Schedule:
        """The denoiser's."""
        return self.denoiser.schedule

    @property
    def self_conditioned(self) -> bool:
        """Whether one of the two networks is shown the last estimate."""
        return _shown(self.denoiser) or (self.guide is not None and _shown(self.guide))

    def __call__(
        self,
        x_t: Float[Tensor, "n c h w"],
        t: Real[Tensor, " n"],
        label: Int[Tensor, " n"] | None = None,
        given: Float[Tensor, "n c h w"] | None = None,
    ) -> Estimate:
        """The guided estimate, of the denoiser's own `variance`; clipped if the denoiser clips.

        `given`, the last estimate, is shown to those of the two networks that were trained so.
        """
        rows = self._rows(t)
        nothing_hidden = self.guide is None and label is None
        if self.scale == 1 or nothing_hidden or len(rows) == 0:
            return _estimate(self.denoiser, x_t, t, label, given)
        own, weak = self._both(x_t, t, label, given, rows)
        sees = own.x0[rows]
        x0 = away(weak, sees, self.scale)
        if self.rescale:
            x0 = x0 * _factor(sees, x0, self.rescale)
        if getattr(self.denoiser, "clip", False):
            x0 = x0.clamp(-1, 1)
        at, x = t[rows], x_t[rows]
        signal, noise = like(self.schedule.signal(at), x), like(self.schedule.noise(at), x)
        eps = parameterization.to_eps("x0", x0, x, signal, noise)
        return Estimate(
            own.x0.index_copy(0, rows, x0), own.eps.index_copy(0, rows, eps), own.variance
        )

    def _rows(self, t: Real[Tensor, " n"]) -> Int64[Tensor, " k"]:
        """Which images are at a time that guidance is asked for."""
        return rows_within(self.schedule, t, self.interval)

    def _both(
        self,
        x_t: Float[Tensor, "n c h w"],
        t: Real[Tensor, " n"],
        label: Int[Tensor, " n"] | None,
        given: Float[Tensor, "n c h w"] | None,
        rows: Int64[Tensor, " k"],
    ) -> tuple[Estimate, Float[Tensor, "k c h w"]]:
        """The denoiser's estimate of all images, and the weaker one's of the image in some rows."""
        x, at, shown = x_t[rows], t[rows], None if given is None else given[rows]
        if self.guide is not None:
            told = None if label is None or not classes_of(self.guide) else label[rows]
            weak = _estimate(self.guide, x, at, told, shown)
            return _estimate(self.denoiser, x_t, t, label, given), weak.x0
        assert label is not None  # else nothing is hidden
        hidden = torch.full_like(label[rows], classes_of(self.denoiser))
        if self._one_batch:
            try:
                x0, eps, variance = _estimate(
                    self.denoiser,
                    torch.cat((x_t, x)),
                    torch.cat((t, at)),
                    torch.cat((label, hidden)),
                    None if given is None or shown is None else torch.cat((given, shown)),
                )
            except (RuntimeError, MemoryError) as error:
                if not device.out_of_memory(error):
                    raise
                self._one_batch = False
            else:
                n = len(t)
                own = Estimate(x0[:n], eps[:n], None if variance is None else variance[:n])
                return own, x0[n:]
            device.release_memory(x_t.device)  # outside of the handler, which holds on to it
        weak = _estimate(self.denoiser, x, at, hidden, shown)
        return _estimate(self.denoiser, x_t, t, label, given), weak.x0


def away(
    weak: Float[Tensor, "n c h w"], own: Float[Tensor, "n c h w"], scale: float
) -> Float[Tensor, "n c h w"]:
    """The guided image, before it is clipped (Ho and Salimans 2022, eq. 6, of the image)."""
    return weak + scale * (own - weak)


def rows_within(
    schedule: Schedule, t: Real[Tensor, " n"], interval: tuple[float, float] | None
) -> Int64[Tensor, " k"]:
    """Which of the times lie in an interval of noise / signal; None holds all of them."""
    if interval is None:
        return torch.arange(len(t), device=t.device)
    low, high = interval
    sigma = schedule.sigma(t)
    return ((low < sigma) & (sigma <= high)).nonzero()[:, 0]


def check_guide(denoiser: DenoiserLike, guide: DenoiserLike) -> None:
    """Whether the one's estimates can guide the other's.

    Raises:
        LoangError: their schedules or their classes are different ones.
    """
    if not same_schedule(denoiser.schedule, guide.schedule):
        raise LoangError(
            f"The guide's noise schedule ({guide.schedule.name}, up to {guide.schedule.T:g}) is"
            f" not that of the model ({denoiser.schedule.name}, up to {denoiser.schedule.T:g}).",
            "Take a model as the guide that was trained on the same schedule, but less or smaller.",
        )
    own, others = classes_of(denoiser), classes_of(guide)
    if others not in (0, own):
        raise LoangError(
            f"The guide knows {others} classes, and the model {own or 'none'}.",
            "Take a model of the same images as the guide, with the same classes or none.",
        )


def same_schedule(one: Schedule, other: Schedule) -> bool:
    """Whether two schedules are one function of the time."""
    if one.T != other.T:
        return False
    t = torch.linspace(0, float(one.T), POINTS, dtype=torch.float64)
    pairs = (one.signal(t), other.signal(t)), (one.noise(t), other.noise(t))
    return all(torch.allclose(a, b, rtol=1e-9, atol=1e-12) for a, b in pairs)


def classes_of(denoiser: DenoiserLike) -> int:
    """How many labels a denoiser knows; that number itself is the label that hides them."""
    return int(getattr(denoiser, "classes", 0))


def _shown(denoiser: DenoiserLike) -> bool:
    return bool(getattr(denoiser, "self_conditioned", False))


def _estimate(
    denoiser: DenoiserLike,
    x_t: Float[Tensor, "n c h w"],
    t: Real[Tensor, " n"],
    label: Int[Tensor, " n"] | None,
    given: Float[Tensor, "n c h w"] | None,
) -> Estimate:
    if given is None or not _shown(denoiser):
        return denoiser(x_t, t, label)
    return denoiser(x_t, t, label, given=given)  # type: ignore[call-arg]


def _factor(
    sees: Float[Tensor, "k c h w"], guided: Float[Tensor, "k c h w"], rescale: float
) -> Float[Tensor, "k 1 1 1"]:
    """What brings each guided image's contrast `rescale` of the way back (Lin et al. 2023)."""
    was, now = (x.std((1, 2, 3), keepdim=True, correction=0) for x in (sees, guided))
    # An image of one value everywhere has no contrast to put back.
    back = torch.where(now > 0, was / now, torch.ones_like(now))
    return rescale * back + (1 - rescale)
