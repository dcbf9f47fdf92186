"""The training step, one batch at a time; what is minimised is its objective's."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from loang import device, random
from loang.config import Settings
from loang.data.images import Images
from loang.data.scaling import to_model
from loang.denoiser import Denoiser
from loang.errors import LoangError
from loang.networks.recompute import recompute
from loang.team.team import ALONE, Team
from loang.training.budget import learning_rate
from loang.training.checkpoint import Checkpoint
from loang.training.consistency import Consistency
from loang.training.denoising import Denoising
from loang.training.ema import MODEL_AVERAGE, Ema, averages, lent
from loang.training.examples import Examples, Source
from loang.training.matching import Matching
from loang.training.objective import OWN, Moment, Objective
from loang.training.optimizer import AdamW

STEP = "step"
"""The word by which a team's leader has the others take one."""
LEAST_VALIDATED = 256
"""Images, where there are so many: of fewer a mean says little."""


@dataclass
class Progress:
    """Where a run stands.

    Args:
        step: optimizer's steps done, those included whose update was skipped.
        images: images seen; also the position in the order of images.
        seconds: of the budget, over all sessions.
        skipped: steps without an update, as their loss or gradient was no number.
        returns: how often the run went back to a checkpoint because of such steps.
    """

    step: int = 0
    images: int = 0
    seconds: float = 0.0
    skipped: int = 0
    returns: int = 0

    @property
    def slowing(self) -> float:
        """The factor of the learning rate: half of it after each return."""
        return 0.5**self.returns


class Step(NamedTuple):
    """What a step of training was like; still on the device.

    Args:
        loss: mean over the batch, without weights.
        gradient: its norm over all parameters, before it was clipped.
    """

    loss: Float[Tensor, ""]
    gradient: Float[Tensor, ""]


class Trainer:
    """A denoiser, its objective, optimizer and average, and the images it learns.

    All that decides a step is the settings, the weights, the optimizer, the average, what the
    objective keeps and the `Progress`: a checkpoint of these goes on exactly. No generator holds
    any state.

    Args:
        denoiser: trained in place.
        images: of the training split.
        settings: batch, learning rate, weighting and so on.
        on: device.
        team: of the processes that share each batch.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        images: Images,
        settings: Settings,
        on: torch.device,
        team: Team = ALONE,
    ) -> None:
        self.team = team
        self.denoiser = denoiser.to(on)
        self.source = Source(images, settings, denoiser.classes, on)
        self.settings = settings
        self.device = on
        self.dtype = device.autocast_type(on, settings.training.precision)
        self.progress = Progress()
        self.share = 0.0
        recompute(denoiser, settings.training.recompute)  # before an objective makes copies of it
        self.objective = objective(self.denoiser, self.source, settings)
        chosen = settings.optimizer
        self.fused = on.type in ("cpu", "cuda")
        self.optimizer = AdamW(
            denoiser.parameters(),
            lr=chosen.learning_rate,
            betas=chosen.betas,
            eps=chosen.epsilon,
            weight_decay=chosen.weight_decay,
            fused=self.fused,
        )
        if own := list(self.objective.parameters().values()):
            self.optimizer.add_param_group({"params": own, "weight_decay": 0.0})
        training = settings.training
        self.part = team.part(training.batch)
        """Of each batch, what this process computes; all of it, if it is alone."""
        self.micro_batch = min(training.micro_batch or len(self.part), len(self.part))
        """Images computed at once; the gradients of a batch's parts are added up."""
        self._wanted = self.micro_batch
        self.drops = any(
            isinstance(part, torch.nn.Dropout) and part.p > 0 for part in denoiser.modules()
        )
        self.averages = averages(settings.ema, denoiser.network)

    @property
    def images(self) -> Images:
        """Of the training split."""
        return self.source.images

    @property
    def ema(self) -> Ema:
        """The average that is the model."""
        return self.averages[MODEL_AVERAGE]

    @property
    def moment(self) -> Moment:
        """Where the run stands."""
        return Moment(self.progress.step, self.progress.images, self.share)

    def step(self, share: float) -> Step:
        """One step of the optimizer.

        A loss or gradient that is no number changes neither weights nor moments. Where the
        optimizer is fused, it sees to that itself, so that nothing waits for a GPU.

        Args:
            share: of the budget that is used, 0..1; it decides the learning rate.

        Raises:
            LoangError: not even a single image fits in memory.
            Lost: another process of the team is gone; nothing has changed then.
        """
        if self.team.leads:
            self.team.tell([STEP, share])
        progress, chosen = self.progress, self.settings.optimizer
        self.share = share
        rate = progress.slowing * learning_rate(chosen, progress.step, share)
        for group, pace in zip(
            self.optimizer.param_groups, self.objective.pace(share), strict=False
        ):
            group["lr"] = pace * rate
        loss = self.gradients()
        if self.team.size > 1:
            self.team.add_up([loss, *self._gradients_there()])
        self.objective.settle(self.team)
        gradient = torch.nn.utils.clip_grad_norm_(
            self.denoiser.parameters(), chosen.clip_norm or float("inf")
        ).detach()
        sound = torch.isfinite(loss) & torch.isfinite(gradient)
        if self.fused:
            self.optimizer.found_inf = (~sound).float()  # type: ignore[attr-defined]
            self.optimizer.step()
        elif bool(sound):
            self.optimizer.step()

        progress.step += 1
        progress.images += self.settings.training.batch
        weights = self.denoiser.network.state_dict()
        for average in self.averages.values():
            average.update(weights.items(), progress.step)
        return Step(loss, gradient)

    def gradients(self, part: range | None = None) -> Float[Tensor, ""]:
        """The gradients of a batch's part, by as many images at once as memory allows.

        Args:
            part: numbers of images in the batch; None takes this process's.

        Returns:
            The sum of the part's losses by the size of the whole batch, as gradients are.
        """
        while True:
            try:
                return self._gradients() if part is None else self._gradients(part)
            except (RuntimeError, MemoryError) as error:
                if not device.out_of_memory(error):
                    raise
                if self.micro_batch == 1:
                    raise LoangError(
                        "There is not enough memory to train on a single image at once.",
                        "Choose a smaller --size, or a smaller network with --set network.width.",
                    ) from error
            # Outside of the handler: the error holds on to what was computed.
            self.micro_batch = (self.micro_batch + 1) // 2
            device.release_memory(self.device)

    def _gradients(self, part: range | None = None) -> Float[Tensor, ""]:
        part = self.part if part is None else part
        training, moment = self.settings.training, self.moment
        self.denoiser.train()
        self.optimizer.zero_grad(set_to_none=True)
        self.objective.begin()
        total = torch.zeros((), device=self.device)
        for start in part[:: self.micro_batch]:
            numbers = torch.arange(start, min(start + self.micro_batch, part.stop))
            with self.dropout(moment.step, start), device.autocast(self.device, self.dtype):
                loss = self.objective.loss(moment, numbers)
            (loss.weighted.sum() / training.batch).backward()
            total += loss.plain.detach().sum() / training.batch
        return total

    def _gradients_there(self) -> list[Tensor]:
        """Of those parameters that have some; the same ones in all processes."""
        return [each.grad for each in self._trained().values() if each.grad is not None]

    @contextlib.contextmanager
    def dropout(self, step: int, start: int) -> Iterator[None]:
        """Lends torch's global generator to dropout, seeded by the step, and puts it back."""
        if not self.drops:
            yield
            return
        gpus = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=gpus):
            seed = random.key(self.settings.training.seed, f"dropout {step} {start}")[0]
            torch.manual_seed(seed)
            yield

    def batch(self, position: int, size: int) -> Examples:
        """The images number position, position + 1, ... of the run."""
        return self.source(position, size)

    def validated(self, images: Images) -> range:
        """The numbers of the images that `validate` looks at."""
        every = min(self.objective.looks, len(images) // LEAST_VALIDATED)
        return range(0, len(images), max(1, every))

    @torch.no_grad()
    def validate(self, images: Images) -> float:
        """The mean of the objective's error over the images, the same each time.

        Over all of them, or over every so many-th where one takes several evaluations.
        """
        # Without gradients a batch takes a fraction of the memory that it takes in training.
        batch = min(256, 4 * self.micro_batch)
        if self.objective.looks > 1:  # a guided look is at twice the batch
            batch = max(1, batch // 2)
        total = torch.zeros((), dtype=torch.float64)
        training = self.denoiser.training
        self.denoiser.eval()
        chosen = torch.tensor(self.validated(images))
        for indices in chosen.split(batch):
            x0 = to_model(images[indices.numpy()], images.spec)
            x0 = x0.to(self.device, memory_format=torch.channels_last)
            label = None
            if self.denoiser.classes and images.labels is not None:
                label = torch.from_numpy(images.labels[indices.numpy()]).to(self.device)
            with device.autocast(self.device, self.dtype):
                error = self.objective.error(x0, label, indices)
            total += error.cpu().double().sum()
        self.denoiser.train(training)
        return float(total / len(chosen))

    def averaged(
        self, weights: Mapping[str, Tensor] | None = None
    ) -> contextlib.AbstractContextManager[None]:
        """A context in which the denoiser has the average's weights, or those of another."""
        return lent(self.denoiser.network, self.ema.tensors if weights is None else weights)

    def checkpoint(self, facts: Mapping[str, Any]) -> Checkpoint:
        """All that `restore` needs, with `facts` kept beside the progress."""
        names = list(self._trained())
        slots = {}
        for index, values in self.optimizer.state_dict()["state"].items():
            for slot, value in values.items():
                slots[f"{names[index]}/{slot}"] = value
        own = self.objective.tensors()
        return Checkpoint(
            tensors={
                "model": dict(self.denoiser.network.state_dict()),
                **{file: average.tensors for file, average in self.averages.items()},
                "optimizer": slots,
                **({"objective": dict(own)} if own else {}),
            },
            state={
                "progress": asdict(self.progress),
                # As memory allowed: what the settings say is each number of processes' own.
                "micro_batch": self.micro_batch if self.micro_batch < self._wanted else None,
                "facts": dict(facts),
            },
        )

    def restore(self, checkpoint: Checkpoint) -> Mapping[str, Any]:
        """Go on from a checkpoint; returns the facts that it keeps."""
        tensors = checkpoint.tensors
        self.denoiser.network.load_state_dict(dict(tensors["model"]))
        for file, average in self.averages.items():
            for name, tensor in average.tensors.items():
                tensor.copy_(tensors[file][name])
        self.objective.restore(tensors.get("objective", {}))
        parameters = self._trained()
        names = list(parameters)
        state: dict[int, dict[str, Tensor]] = {}
        for path, tensor in tensors["optimizer"].items():
            name, _, slot = path.rpartition("/")
            if tensor.shape == parameters[name].shape:
                # The fused optimizer walks through memory: moments must lie as their weights do.
                tensor = torch.empty_like(parameters[name]).copy_(tensor)
            state.setdefault(names.index(name), {})[slot] = tensor
        whole = self.optimizer.state_dict()
        self.optimizer.load_state_dict({"state": state, "param_groups": whole["param_groups"]})
        self.progress = Progress(**checkpoint.state["progress"])
        at_once = checkpoint.state.get("micro_batch") or self.micro_batch
        self.micro_batch = min(at_once, len(self.part))
        facts: Mapping[str, Any] = checkpoint.state["facts"]
        return facts

    def _trained(self) -> dict[str, nn.Parameter]:
        """All that the optimizer changes, in its order."""
        own = self.objective.parameters()
        return {
            **dict(self.denoiser.network.named_parameters()),
            **{f"{OWN}{name}": parameter for name, parameter in own.items()},
        }


def objective(denoiser: Denoiser, source: Source, settings: Settings) -> Objective:
    """The one that the settings name.

    Raises:
        LoangError: this denoiser can't be trained so.
    """
    if settings.distilled:
        if settings.distillation.matched:
            return Matching(denoiser, source, settings)
        return Consistency(denoiser, source, settings)
    return Denoising(denoiser, source, settings)
