"""The training step: Ho et al. 2020, algorithm 1, one batch at a time."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from loang import device, random
from loang.config import Settings
from loang.data import order
from loang.data.images import Images
from loang.data.scaling import to_model
from loang.denoiser import Denoiser
from loang.loss import denoising_loss
from loang.training.budget import learning_rate
from loang.training.checkpoint import Checkpoint
from loang.training.ema import ConstantDecay, Ema, PowerDecay


@dataclass
class Progress:
    """Where a run stands.

    Args:
        step: optimizer's steps done.
        images: images seen; also the position in the order of images.
        seconds: of the budget, over all sessions.
    """

    step: int = 0
    images: int = 0
    seconds: float = 0.0


class Trainer:
    """A denoiser, its optimizer and average, and the images it learns.

    All that decides a step is the settings, the weights, the optimizer, the average and the
    `Progress`: a checkpoint of these goes on exactly. No generator holds any state.

    Args:
        denoiser: trained in place.
        images: of the training split.
        settings: batch, learning rate, weighting and so on.
        on: device.
    """

    def __init__(
        self, denoiser: Denoiser, images: Images, settings: Settings, on: torch.device
    ) -> None:
        self.denoiser = denoiser.to(on)
        self.images = images
        self.settings = settings
        self.device = on
        self.dtype = device.autocast_type(on, settings.training.precision)
        self.progress = Progress()
        chosen = settings.optimizer
        self.optimizer = torch.optim.AdamW(
            denoiser.parameters(),
            lr=chosen.learning_rate,
            betas=chosen.betas,
            eps=chosen.epsilon,
            weight_decay=chosen.weight_decay,
            fused=on.type in ("cpu", "cuda"),
        )
        average = settings.ema
        decay = (
            PowerDecay(average.length) if average.kind == "power" else ConstantDecay(average.decay)
        )
        self.ema = Ema(denoiser.network.state_dict().items(), decay)

    def step(self, share: float) -> Float[Tensor, ""]:
        """One step of the optimizer; the mean loss of its batch, still on the device.

        Args:
            share: of the budget that is used, 0..1; it decides the learning rate.
        """
        training, progress = self.settings.training, self.progress
        x0, label = self.batch(progress.images, training.batch)
        t, eps = self.noise("train", progress.step, torch.arange(len(x0)))
        label = self._hide(label, progress.step)

        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.settings.optimizer, progress.step, share)
        self.denoiser.train()
        with device.autocast(self.device, self.dtype):
            loss = denoising_loss(self.denoiser, x0, t, eps, label, training.weighting)
        self.optimizer.zero_grad(set_to_none=True)
        loss.weighted.mean().backward()
        if self.settings.optimizer.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(
                self.denoiser.parameters(), self.settings.optimizer.clip_norm
            )
        self.optimizer.step()

        progress.step += 1
        progress.images += len(x0)
        self.ema.update(self.denoiser.network.state_dict().items(), progress.step)
        return loss.plain.detach().mean()

    def batch(
        self, position: int, size: int
    ) -> tuple[Float[Tensor, "n c h w"], Int[Tensor, " n"] | None]:
        """The images number position, position + 1, ... of the run in [-1, 1], and their labels."""
        indices = order.batch(position, size, len(self.images), self.settings.training.seed)
        x0 = to_model(self.images[indices], self.images.spec)
        if self.settings.data.flips:
            mirrored = random.integers(
                0,
                1,
                seed=self.settings.training.seed,
                purpose="flip",
                step=0,
                indices=torch.arange(position, position + size),
            )
            x0 = torch.where(mirrored.bool()[:, None, None, None], x0.flip(3), x0)
        label = None
        if self.denoiser.classes and self.images.labels is not None:
            label = torch.from_numpy(self.images.labels[indices]).to(self.device)
        x0 = x0.to(self.device, memory_format=torch.channels_last)
        return x0, label

    def noise(
        self, purpose: str, step: int, indices: Int[Tensor, " n"]
    ) -> tuple[Int[Tensor, " n"], Float[Tensor, "n c h w"]]:
        """Times, uniform in 1..T, and standard normal noise, for the images of those numbers."""
        seed = self.settings.training.seed
        indices = indices.to(self.device)
        t = random.integers(
            1,
            self.denoiser.schedule.T,
            seed=seed,
            purpose=f"{purpose} time",
            step=step,
            indices=indices,
        )
        eps = random.normal(
            self.images.spec.shape,
            seed=seed,
            purpose=f"{purpose} noise",
            step=step,
            indices=indices,
        )
        return t, eps

    def _hide(self, label: Int[Tensor, " n"] | None, step: int) -> Int[Tensor, " n"] | None:
        """Some labels become "no label", so that the network learns both (Ho and Salimans 2022)."""
        if label is None:
            return None
        drawn = random.uniform(
            seed=self.settings.training.seed,
            purpose="label dropout",
            step=step,
            indices=torch.arange(len(label), device=self.device),
        )
        hidden = drawn < self.settings.training.label_dropout
        return torch.where(hidden, torch.full_like(label, self.denoiser.classes), label)

    @torch.no_grad()
    def validate(self, images: Images, batch: int = 256) -> float:
        """The mean squared error over all of the images, with the same noise each time."""
        total = torch.zeros((), dtype=torch.float64)
        training = self.denoiser.training
        self.denoiser.eval()
        for start in range(0, len(images), batch):
            indices = torch.arange(start, min(start + batch, len(images)))
            x0 = to_model(images[indices.numpy()], images.spec)
            x0 = x0.to(self.device, memory_format=torch.channels_last)
            label = None
            if self.denoiser.classes and images.labels is not None:
                label = torch.from_numpy(images.labels[indices.numpy()]).to(self.device)
            t, eps = self.noise("validation", 0, indices)
            with device.autocast(self.device, self.dtype):
                loss = denoising_loss(self.denoiser, x0, t, eps, label)
            total += loss.plain.cpu().double().sum()
        self.denoiser.train(training)
        return float(total / len(images))

    def averaged(self) -> "Averaged":
        """A context in which the denoiser has the average's weights."""
        return Averaged(self)

    def checkpoint(self, facts: Mapping[str, Any]) -> Checkpoint:
        """All that `restore` needs, with `facts` kept beside the progress."""
        names = [name for name, _ in self.denoiser.network.named_parameters()]
        slots = {}
        for index, values in self.optimizer.state_dict()["state"].items():
            for slot, value in values.items():
                slots[f"{names[index]}/{slot}"] = value
        return Checkpoint(
            tensors={
                "model": dict(self.denoiser.network.state_dict()),
                "ema": self.ema.tensors,
                "optimizer": slots,
            },
            state={"progress": asdict(self.progress), "facts": dict(facts)},
        )

    def restore(self, checkpoint: Checkpoint) -> Mapping[str, Any]:
        """Go on from a checkpoint; returns the facts that it keeps."""
        tensors = checkpoint.tensors
        self.denoiser.network.load_state_dict(dict(tensors["model"]))
        for name, tensor in self.ema.tensors.items():
            tensor.copy_(tensors["ema"][name])
        parameters = dict(self.denoiser.network.named_parameters())
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
        facts: Mapping[str, Any] = checkpoint.state["facts"]
        return facts


class Averaged:
    """Lends the average's weights to the denoiser, and gives back its own, bit for bit."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer

    def __enter__(self) -> None:
        network = self.trainer.denoiser.network
        self.own = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        network.load_state_dict(self.trainer.ema.tensors)

    def __exit__(self, *_: object) -> None:
        self.trainer.denoiser.network.load_state_dict(self.own)
