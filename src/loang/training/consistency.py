"""Few steps in place of many: a student learns to leap where its teacher walks.

A leap from t to s is a single step of DDIM, by an image that the student answers at x_t. Three ways
to learn which (`distillation.method`):

- "leaps": a student of N steps leaps from each level of its walk to the next, where the teacher's
  short steps lead (Luhman and Luhman 2021; Salimans and Ho 2022, all halvings at once). Its sampler
  is DDIM at these levels and at no others.
- "consistency": from any t it leaps to the image, to the same as from a point r one short step of
  the teacher below t (Song et al. 2023, algorithm 2). Its sampler is `samplers/consistency.py`.
- "tuning": the same, but the short step is that of the image and the noise which x_t was made from,
  and no teacher is asked (Geng et al. 2025).

The teacher may be guided as it is asked (`distillation.guidance`): its student then draws so in one
evaluation a step (Meng et al. 2023).
"""

import copy
import math
from collections.abc import Mapping
from itertools import pairwise

import torch
from jaxtyping import Float, Int, Real
from torch import Tensor

from loang import parameterization, random
from loang.config import DistillationSettings, Settings
from loang.denoiser import Denoiser
from loang.errors import LoangError
from loang.loss import Loss
from loang.parameterization import squared_error_ratio
from loang.process import like
from loang.sampling import check_interval
from loang.schedule.base import widest
from loang.training.examples import Source
from loang.training.leaps import angle_of, leaps, step, two_leaps
from loang.training.objective import Moment, Objective
from loang.training.teacher import guided
from loang.training.teacher import image as image_at

WALKED = 8
"""Steps of the teacher's walk to the image that validation measures a leap against."""
CLOSE = 1e-4
"""Angles nearer than this are one."""
MOST_WEIGHT = 100.0
"""Of an answer's squared error: eps says next to nothing of the image where the noise is pure."""


def check(denoiser: Denoiser, settings: DistillationSettings) -> None:
    """Whether a model can be distilled so.

    Raises:
        LoangError: its network is shown its own last estimate, which one leap has not; it is to be
            guided, and is not asked or has no label that could be hidden; or the student is to
            start where it does not lead, or to be matched where it draws nothing.
    """
    check_interval(settings.guidance_interval)
    low, high = settings.match_levels
    if low >= high:
        raise LoangError(
            f"There are no noise levels from {low:g} up to {high:g}.",
            "Name the lesser noise / signal first: --set distillation.match_levels=0.2,5.",
        )
    guided = settings.guidance not in (None, 1) or settings.match_guidance not in (None, 1)
    if guided and settings.method == "tuning":
        raise LoangError(
            "distillation.method=tuning asks no teacher, so there is nothing to guide.",
            "Leave --guidance away, or take another method.",
        )
    if guided and not (denoiser.classes and denoiser.hides_labels):
        why = "has never seen an image without a label" if denoiser.classes else "knows no classes"
        raise LoangError(
            f"This model {why}, so there is no label that guidance could hide.",
            "Leave --guidance away.",
        )
    if not guided and settings.guidance_interval is not None:
        raise LoangError(
            "distillation.guidance_interval does nothing without guidance.",
            "Leave it away, or add --guidance 2.",
        )
    if settings.method != "leaps" and settings.matched_from not in (None, 1):
        raise LoangError(
            f"A student of distillation.method={settings.method} draws no samples as it learns that"
            " could be matched with the teacher's.",
            "Leave distillation.matched_from away, or take distillation.method=leaps.",
        )
    if settings.starts == "own" and settings.method != "leaps":
        raise LoangError(
            f"A student of distillation.method={settings.method} starts from every level, and its"
            " own leaps lead to few.",
            "Leave distillation.starts away.",
        )
    if denoiser.self_conditioned:
        raise LoangError(
            "This model looks at its own last estimate, and a leap has none before it.",
            "Distil a model that was trained with network.self_conditioning=false.",
        )


class Consistency(Objective):
    """The squared error of a leap against two leaps: the teacher's short one, the student's rest.

    Args:
        denoiser: the student, with the teacher's weights as long as nothing else is restored.
        source: of the images.
        settings: `distillation` above all.

    Raises:
        LoangError: as `check`.
    """

    def __init__(self, denoiser: Denoiser, source: Source, settings: Settings) -> None:
        check(denoiser, settings.distillation)
        self.denoiser = denoiser
        self.source = source
        self.training = settings.training
        self.settings: DistillationSettings = settings.distillation
        self.guidance = 1.0 if self.settings.guidance is None else self.settings.guidance
        self.teacher = copy.deepcopy(denoiser).eval().requires_grad_(False)
        schedule = denoiser.schedule
        self.leaps = self.settings.steps if self.settings.method == "leaps" else 1
        """How many lead from noise to the image."""
        levels = torch.tensor(leaps(schedule, self.leaps)[::-1], dtype=torch.float64)
        self.ends = angle_of(schedule, levels).to(source.device, widest(source.device))
        """The angles that leaps end at, from 0 up."""
        walked = round(math.pi / 2 / self.leaps / self._shortest())
        self.looks = 1 + walked * (2 if self.guidance != 1 else 1)

    def loss(self, moment: Moment, numbers: Int[Tensor, " n"]) -> Loss:
        """Of the images of those numbers; numbers follow one another."""
        x0, label, told = self.source(moment.position + int(numbers[0]), len(numbers))
        numbers = numbers.to(x0.device)
        label = self.hidden(label, moment.step, numbers)
        short = self._short(moment.share)
        angle, eps = self._noised("train", moment.step, numbers)
        walked = self.settings.method == "leaps"
        own = walked and self.settings.starts == "own"
        return self._leap(x0, angle, eps, short, label, told, walked=walked, own=own)

    def error(
        self,
        x0: Float[Tensor, "n c h w"],
        label: Int[Tensor, " n"] | None,
        numbers: Int[Tensor, " n"],
    ) -> Float[Tensor, " n"]:
        """Without weights, of a leap against the teacher's walk, whatever training learns from.

        The walk is of the shortest steps that training comes to, or, to the image, of `WALKED`.
        """
        angle, eps = self._noised("validation", 0, numbers.to(x0.device))
        return self._leap(x0, angle, eps, self._shortest(), label, walked=True).plain

    def tensors(self) -> Mapping[str, Tensor]:
        """The teacher: its file may be gone when a run goes on."""
        return self.teacher.network.state_dict()

    def hidden(
        self, label: Int[Tensor, " n"] | None, step: int, numbers: Int[Tensor, " n"]
    ) -> Int[Tensor, " n"] | None:
        """Some labels become "no label": the teacher learnt both, and so does the student."""
        if label is None:
            return None
        hidden = self._uniform("label dropout", step, numbers) < self.training.label_dropout
        return torch.where(hidden, torch.full_like(label, self.denoiser.classes), label)

    def _short(self, share: float) -> float:
        """The angle of a short step: the number of them in a leap rises by factors."""
        leaps = self.settings.method == "leaps"
        first, last = self.settings.chain or ((2, 2) if leaps else (8, 32))
        return math.pi / 2 / self.leaps / (first * (last / first) ** share)

    def _shortest(self) -> float:
        """The angle of a short step of validation."""
        leaps = self.settings.method == "leaps"
        return self._short(1.0) if leaps else math.pi / 2 / WALKED

    def _leap(
        self,
        x0: Float[Tensor, "n c h w"],
        angle: Float[Tensor, " n"],
        eps: Float[Tensor, "n c h w"],
        short: float,
        label: Int[Tensor, " n"] | None,
        told: Float[Tensor, "n parameters"] | None = None,
        *,
        walked: bool,
        own: bool = False,
    ) -> Loss:
        denoiser, schedule = self.denoiser, self.denoiser.schedule
        t = schedule.times(angle.tan())
        signal, noise = like(schedule.signal(t), x0), like(schedule.noise(t), x0)
        x_t = signal * x0 + noise * eps
        with torch.no_grad():
            if own:
                x_t = self._landed(x_t, eps, angle, label, told)
            if walked:
                image = self._walked(x_t, angle, short, label, told)
            else:
                r = schedule.times((angle - short).clamp(min=0).tan())
                near = x0
                if self.settings.method == "consistency":
                    near = self._seen(x_t, t, label, told)
                x_r = step(schedule, x_t, near, t, r)
                # Its dropout is that of the answer at t, which draws the same numbers anew.
                with torch.random.fork_rng(devices=_gpus(x0.device)):
                    far = image_at(denoiser, x_r, r.clamp(min=schedule.first), label, told)
                image = torch.where((r > 0).reshape(-1, 1, 1, 1), far, near)
        # Autocast keeps what it has cast of the weights; in older torch, without a gradient.
        torch.clear_autocast_cache()
        eps_there = parameterization.to_eps("x0", image, x_t, signal, noise)
        target = parameterization.target(
            denoiser.kind, image, eps_there, signal, noise, denoiser.deviation
        )
        answer = denoiser.predict(x_t, t, label, told).image
        plain = (answer - target).square().flatten(1).mean(1)
        return Loss(self._weight(t).to(plain.dtype) * plain, plain)

    def _walked(
        self,
        x_t: Float[Tensor, "n c h w"],
        angle: Float[Tensor, " n"],
        short: float,
        label: Int[Tensor, " n"] | None,
        told: Float[Tensor, "n parameters"] | None,
    ) -> Float[Tensor, "n c h w"]:
        """The image whose one step to the leap's end lands where the teacher's short steps do.

        An image of the walk so far, and one of its next step, make one of both: see `two_leaps`.
        """
        schedule = self.denoiser.schedule
        end = self.ends[torch.searchsorted(self.ends, angle) - 1]
        steps = max(1, round(math.pi / 2 / self.leaps / short))
        angles = [torch.lerp(angle, end, k / steps) for k in range(steps + 1)]
        marks = [schedule.times(each.tan()) for each in angles]
        x, image = x_t, x_t
        for number, (t, r) in enumerate(pairwise(marks)):
            near = self._seen(x, t.clamp(min=schedule.first), label, told)
            x = step(schedule, x, near, t, r)
            image = two_leaps(schedule, image, near, marks[0], t, r) if number else near
        return image

    def _landed(
        self,
        x_t: Float[Tensor, "n c h w"],
        eps: Float[Tensor, "n c h w"],
        angle: Float[Tensor, " n"],
        label: Int[Tensor, " n"] | None,
        told: Float[Tensor, "n parameters"] | None,
    ) -> Float[Tensor, "n c h w"]:
        """Where the student's own leaps from pure noise lead, at each angle's level."""
        schedule, learning = self.denoiser.schedule, self.denoiser.training
        own = schedule.start * eps
        self.denoiser.eval()  # as it is sampled, without dropout
        for high, low in pairwise(self.ends.flip(0)[:-1]):
            rows = (angle < high - CLOSE).nonzero()[:, 0]
            if len(rows) == 0:
                break
            t, s = (schedule.times(at.expand(len(rows)).tan()) for at in (high, low))
            mine, told_to = own[rows], None if told is None else told[rows]
            named = None if label is None else label[rows]
            image = image_at(self.denoiser, mine, t, named, told_to)
            own = own.index_copy(0, rows, step(schedule, mine, image, t, s).to(own))
        self.denoiser.train(learning)
        return own

    def _seen(
        self,
        x_t: Float[Tensor, "n c h w"],
        t: Real[Tensor, " n"],
        label: Int[Tensor, " n"] | None,
        told: Float[Tensor, "n parameters"] | None,
    ) -> Float[Tensor, "n c h w"]:
        """The image that the teacher sees, guided where that is asked for."""
        interval = self.settings.guidance_interval
        return guided(self.teacher, x_t, t, label, told, scale=self.guidance, interval=interval)

    def _weight(self, t: Real[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Whatever is predicted, as if it were v: SNR + 1 in units of the image."""
        denoiser, schedule = self.denoiser, self.denoiser.schedule
        signal, noise = schedule.signal(t), schedule.noise(t)
        v = 1 + (signal / noise).square()
        ratio = squared_error_ratio(denoiser.kind, signal, noise, denoiser.deviation)
        return (v / ratio).clamp(max=MOST_WEIGHT)

    def _noised(
        self, purpose: str, step: int, numbers: Int[Tensor, " n"]
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, "n c h w"]]:
        """Angles and noise for the images of those numbers."""
        schedule = self.denoiser.schedule
        share = self._uniform(f"{purpose} time", step, numbers)
        first = torch.tensor([schedule.first], dtype=share.dtype, device=share.device)
        low = angle_of(schedule, first)
        if self.settings.method == "leaps":  # where these begin
            angle = self.ends[1 + (share * (len(self.ends) - 1)).long()]
        else:
            angle = low + (self.ends[-1] - low) * share
        eps = random.normal(
            self.source.images.spec.shape,
            seed=self.training.seed,
            purpose=f"{purpose} noise",
            step=step,
            indices=numbers,
        )
        return angle, eps

    def _uniform(self, purpose: str, step: int, numbers: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
        return random.uniform(seed=self.training.seed, purpose=purpose, step=step, indices=numbers)


def _gpus(device: torch.device) -> list[torch.device]:
    return [device] if device.type == "cuda" else []
