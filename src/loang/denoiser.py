"""The denoiser: network + schedule + parameterisation; all that samplers and losses see."""

from typing import NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float, Int, Real
from torch import Tensor, nn

from loang import parameterization
from loang.errors import LoangError
from loang.parameterization import Parameterization
from loang.process import like
from loang.schedule import Schedule


class Estimate(NamedTuple):
    """What a denoiser sees in x_t: x_t = signal(t) * x0 + noise(t) * eps holds exactly.

    `variance` is where the variance of a step of DDPM lies between the posterior's, 0, and beta,
    1, on the scale of logarithms (Nichol and Dhariwal 2021, eq. 15); None where it isn't learnt.
    """

    x0: Float[Tensor, "n c h w"]
    eps: Float[Tensor, "n c h w"]
    variance: Float[Tensor, "n c h w"] | None = None


class Prediction(NamedTuple):
    """A network's own answer, in its own parameterisation, and `variance` as in `Estimate`."""

    image: Float[Tensor, "n c h w"]
    variance: Float[Tensor, "n c h w"] | None = None


@runtime_checkable
class DenoiserLike(Protocol):
    """What a sampler needs: a schedule, and an estimate of image and noise at a time."""

    @property
    def schedule(self) -> Schedule:
        """The schedule whose times `t` counts."""
        ...

    def __call__(
        self,
        x_t: Float[Tensor, "n c h w"],
        t: Real[Tensor, " n"],
        label: Int[Tensor, " n"] | None = None,
    ) -> Estimate:
        """The estimate at time t, one an image."""
        ...


class Denoiser(nn.Module):
    """A network that has learnt to see the image and the noise in x_t.

    Args:
        network: `network(x, condition, label)` answers a tensor of x's shape; its condition is
            what the schedule makes of the time. One that is trained on changed images, and told
            how they were, takes that as `augmentation`; one that is shown another image, as
            `given`. One with the attribute `variance` answers twice the channels.
        schedule: the noise schedule that it was trained on.
        kind: what its answer is (parameterization.py).
        clip: whether estimates of the image are kept within [-1, 1]. The noise is then derived
            anew from the clipped image, so that both stay consistent with x_t.
        deviation: standard deviation of the images' values, for the kind "edm".

    Raises:
        LoangError: an eps-network with a schedule whose last signal is 0: there x_T = eps, so
            the answer says nothing of the image.
    """

    def __init__(
        self,
        network: nn.Module,
        schedule: Schedule,
        kind: Parameterization = "eps",
        clip: bool = True,
        deviation: float = 0.5,
    ) -> None:
        super().__init__()
        if kind == "eps" and schedule.zero_terminal_snr:
            raise LoangError(
                "A network that predicts eps can't start from zero terminal SNR:"
                " there the noise says nothing of the image.",
                "Predict v or x0 instead, or leave the schedule as it is.",
            )
        self.network = network
        self.schedule = schedule
        self.kind: Parameterization = kind
        self.clip = clip
        self.deviation = deviation

    @property
    def classes(self) -> int:
        """How many labels the network knows; 0 for none."""
        return int(getattr(self.network, "classes", 0))

    @property
    def hides_labels(self) -> bool:
        """Whether `classes` itself is a label, for "none"."""
        return bool(getattr(self.network, "no_label", True))

    @property
    def learns_variance(self) -> bool:
        """Whether the network answers where the variance of a step lies."""
        return bool(getattr(self.network, "variance", False))

    @property
    def self_conditioned(self) -> bool:
        """Whether the network is shown another image: its own last estimate."""
        return bool(getattr(self.network, "given", 0))

    def predict(
        self,
        x_t: Float[Tensor, "n c h w"],
        t: Real[Tensor, " n"],
        label: Int[Tensor, " n"] | None = None,
        augmentation: Float[Tensor, "n parameters"] | None = None,
        given: Float[Tensor, "n k h w"] | None = None,
    ) -> Prediction:
        """The network's own answer, in x_t's type; t above 0, up to T.

        `augmentation` says how training changed the images (augment.py); samplers change none.
        """
        # Most networks take three arguments.
        told = {"augmentation": augmentation, "given": given}
        told = {name: value for name, value in told.items() if value is not None}
        answer: Tensor = self.network(
            self._input(x_t, t), self.schedule.condition(t), label, **told
        ).to(x_t.dtype)
        if not self.learns_variance:
            return Prediction(answer)
        image, variance = answer.chunk(2, dim=1)
        # The network's -1 and 1 are the bounds (Nichol and Dhariwal's code).
        return Prediction(image, (variance + 1) / 2)

    def forward(
        self,
        x_t: Float[Tensor, "n c h w"],
        t: Real[Tensor, " n"],
        label: Int[Tensor, " n"] | None = None,
        given: Float[Tensor, "n k h w"] | None = None,
    ) -> Estimate:
        """The image and the noise in x_t; t above 0, up to T, one an image."""
        return self.read(self.predict(x_t, t, label, given=given), x_t, t)

    def read(
        self, prediction: Prediction, x_t: Float[Tensor, "n c h w"], t: Real[Tensor, " n"]
    ) -> Estimate:
        """The estimate that a prediction comes to."""
        answer, variance = prediction
        signal, noise = like(self.schedule.signal(t), x_t), like(self.schedule.noise(t), x_t)
        x0 = parameterization.to_x0(self.kind, answer, x_t, signal, noise, self.deviation)
        if self.clip:
            x0 = x0.clamp(-1, 1)
            return Estimate(x0, parameterization.to_eps("x0", x0, x_t, signal, noise), variance)
        eps = parameterization.to_eps(self.kind, answer, x_t, signal, noise, self.deviation)
        return Estimate(x0, eps, variance)

    def _input(
        self, x_t: Float[Tensor, "n c h w"], t: Real[Tensor, " n"]
    ) -> Float[Tensor, "n c h w"]:
        """x_t at about the size of an image, as networks are made for."""
        schedule = self.schedule
        if self.kind == "edm":  # Karras et al. 2022, eq. 7: c_in
            signal, noise = schedule.signal(t), schedule.noise(t)
            return x_t / like(parameterization.edm_size(signal, noise, self.deviation), x_t)
        if schedule.start > 1:
            return x_t / like(schedule.size(t), x_t)
        return x_t
