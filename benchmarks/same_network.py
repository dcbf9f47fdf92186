"""A training step of the same U-Net in three libraries, in turns, on this machine.

    python benchmarks/same_network.py --shape cifar10 --out same.json
    python benchmarks/same_network.py --shape small
    python benchmarks/same_network.py --shape cifar10 --batch 128 --device cuda

A step is all that training does of it: noise, forward and backward, clipping, optimizer, average of
the weights. The shapes are Ho et al.'s for CIFAR-10 (128, multipliers 1, 2, 2, 2, two blocks,
attention at 16x16, dropout 0.1; 35.7 million parameters) and a small one (64, multipliers 1, 2, 2).
The images are noise, 32x32: what they show takes no time. Each library has a process of its own, so
that none gets what another has arranged there; while one takes a step the others wait.

- loang: `ddpm-cifar10` with that network, and in what `--precision auto` chooses.
- diffusers: UNet2DModel with the same blocks and the same function, but for the padding of its
  convolutions of stride 2; the step as in its examples/unconditional_image_generation.
- ddpm-pytorch: denoising-diffusion-pytorch's Unet of these widths, with full attention where the
  others have attention. It is not the same function: it has two blocks a level and attention in
  linear time at the other levels, and its norms are others. The step as its Trainer's.

Each of the two runs in float32, as it does unless told otherwise, and, "given", under bfloat16
autocast and with channels last. On a GPU, TF32 is allowed to all; on a CPU numbers too small to be
normal count as 0 for all, as those that fresh networks make cost one more than another. The table
has medians, and ratios of loang's images a second to theirs, of steps in turns; FLOP are those of
convolutions and products in an image's forward and backward pass.

    pip install -c constraints.txt . diffusers==0.42.1 denoising-diffusion-pytorch==2.3.4
"""

import argparse
import contextlib
import json
import multiprocessing
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peer_libraries import allow_torchvision
from torch import Tensor, nn

import loang
from loang import device, files, heap
from loang.bench.work import counted
from loang.training.asked import open_images, resolve
from loang.training.plan import prepare
from loang.training.trainer import Trainer

SIZE = 32
WARM_UP = 2
SHAPES: dict[str, dict[str, Any]] = {
    "cifar10": {"channels": 3, "width": 128, "multipliers": (1, 2, 2, 2), "dropout": 0.1},
    "small": {"channels": 1, "width": 64, "multipliers": (1, 2, 2), "dropout": 0.0},
}
Step = Callable[[], Any]


def of_loang(shape: dict[str, Any], batch: int, on: str, place: Path) -> tuple[Step, nn.Module]:
    """The step of `loang train`."""
    images = np.random.default_rng(0).integers(
        0, 256, (2000, SIZE, SIZE, shape["channels"]), np.uint8
    )
    np.save(place / "noise.npy", images)
    settings = resolve(
        str(place / "noise.npy"),
        preset="ddpm-cifar10",
        device=on,
        changes=[
            f"data.channels={shape['channels']}",
            f"network.width={shape['width']}",
            f"network.multipliers={list(shape['multipliers'])}",
            f"network.dropout={shape['dropout']}",
            f"training.batch={batch}",
        ],
    )
    plan = prepare(settings, open_images(settings))
    trainer = Trainer(plan.denoiser, plan.dataset.train, plan.settings, plan.device)
    return lambda: trainer.step(0.5).loss, trainer.denoiser.network


def of_diffusers(shape: dict[str, Any]) -> tuple[nn.Module, Callable[[Tensor], Tensor], Step]:
    """Network, loss, and what follows the gradients."""
    from diffusers import DDPMScheduler, UNet2DModel
    from diffusers.training_utils import EMAModel

    levels = len(shape["multipliers"])
    attends = [level == 1 for level in range(levels)]
    network = UNet2DModel(
        sample_size=SIZE,
        in_channels=shape["channels"],
        out_channels=shape["channels"],
        layers_per_block=2,
        block_out_channels=tuple(shape["width"] * m for m in shape["multipliers"]),
        down_block_types=tuple("AttnDownBlock2D" if a else "DownBlock2D" for a in attends),
        up_block_types=tuple("AttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attends)),
        attention_head_dim=None,
        norm_eps=1e-6,
        downsample_padding=0,
        dropout=shape["dropout"],
    )
    noising = DDPMScheduler(num_train_timesteps=1000, beta_schedule="linear")
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, betas=(0.95, 0.999))
    average = EMAModel(network.parameters(), decay=0.9999, use_ema_warmup=True)

    def loss(x: Tensor) -> Tensor:
        noise = torch.randn_like(x)
        times = torch.randint(0, 1000, (len(x),), device=x.device)
        guess = network(noising.add_noise(x, noise, times), times).sample
        return nn.functional.mse_loss(guess.float(), noise)

    def settle() -> None:
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        average.step(network.parameters())

    return network, loss, settle


def of_ddpm_pytorch(shape: dict[str, Any]) -> tuple[nn.Module, Callable[[Tensor], Tensor], Step]:
    """Network, loss, and what follows the gradients."""
    from denoising_diffusion_pytorch import GaussianDiffusion, Unet
    from ema_pytorch import EMA

    network = GaussianDiffusion(
        Unet(
            dim=shape["width"],
            dim_mults=shape["multipliers"],
            channels=shape["channels"],
            full_attn=tuple(level == 1 for level in range(len(shape["multipliers"]))),
            dropout=shape["dropout"],
        ),
        image_size=SIZE,
        timesteps=1000,
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, betas=(0.9, 0.99))
    average = EMA(network, beta=0.995, update_every=10)

    def settle() -> None:
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        average.update()

    return network, lambda x: network((x + 1) / 2), settle


PEERS = {"diffusers": of_diffusers, "ddpm-pytorch": of_ddpm_pytorch}


def of_peer(
    name: str, shape: dict[str, Any], batch: int, on: torch.device, given: bool
) -> tuple[Step, nn.Module]:
    """A step of another library's; `given` is bfloat16 and channels last."""
    network, loss, settle = PEERS[name](shape)
    network.to(on).train()
    if given:
        network.to(memory_format=torch.channels_last)
    x = torch.rand(batch, shape["channels"], SIZE, SIZE, device=on) * 2 - 1
    if given:
        x = x.contiguous(memory_format=torch.channels_last)

    def step() -> Tensor:
        cast = torch.autocast(on.type, torch.bfloat16) if given else contextlib.nullcontext()
        with cast:
            value = loss(x)
        value.backward()
        settle()
        return value.detach()

    return step, network


def serve(pipe: Connection, name: str, asked: argparse.Namespace) -> None:
    """Of one library: a step's seconds each time it is asked, and its FLOP and weights at last."""
    allow_torchvision()
    on = device.choose(asked.device)
    torch.manual_seed(0)
    torch.set_flush_denormal(True)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    shape, (library, _, given) = SHAPES[asked.shape], name.partition(", ")
    with contextlib.ExitStack() as stack:
        if library == "loang":
            place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            step, network = of_loang(shape, asked.batch, str(on), place)
            stack.enter_context(heap.kept())  # as in a run
        else:
            step, network = of_peer(library, shape, asked.batch, on, bool(given))
        while pipe.recv():
            start = time.perf_counter()
            float(step())  # reading the loss waits for the device
            pipe.send(time.perf_counter() - start)
        trained = sum(each.numel() for each in network.parameters() if each.requires_grad)
        pipe.send((counted(step) / asked.batch, trained))


def answer(pipe: Connection, name: str) -> Any:
    try:
        return pipe.recv()
    except (EOFError, ConnectionError):
        raise SystemExit(f"{name} has ended, by the error above.") from None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--shape", choices=SHAPES, default="cifar10")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--without", action="append", default=[], choices=PEERS)
    parser.add_argument("--out", type=Path, help="the figures as JSON")
    asked = parser.parse_args()
    on = device.choose(asked.device)
    names = ["loang"]
    for name in PEERS:
        if name not in asked.without:
            names += [name, f"{name}, given"]
    context = multiprocessing.get_context("spawn")  # a fork would share what was arranged here
    pipes, processes = {}, []
    for name in names:
        pipes[name], theirs = context.Pipe()
        processes.append(context.Process(target=serve, args=(theirs, name, asked), daemon=True))
        processes[-1].start()
        theirs.close()
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(WARM_UP + asked.rounds):
        for name in names:
            pipes[name].send(True)
            took = answer(pipes[name], name)
            if turn >= WARM_UP:
                seconds[name].append(took)
    flops, sizes = dict[str, float](), dict[str, int]()
    for name, pipe in pipes.items():
        pipe.send(False)
        flops[name], sizes[name] = answer(pipe, name)
    for process in processes:
        process.join()

    rates = {name: asked.batch / statistics.median(took) for name, took in seconds.items()}
    rows = {
        name: {
            "flop_an_image": flops[name],
            "flop_a_second": flops[name] * rates[name],
            "parameters": sizes[name],
            "images_a_second": rates[name],
            "slowest": asked.batch / max(seconds[name]),
            "fastest": asked.batch / min(seconds[name]),
            "loang_is_faster_by": statistics.median(
                theirs / ours for ours, theirs in zip(seconds["loang"], seconds[name], strict=True)
            ),
        }
        for name in names
    }
    about = {
        "command": f"benchmarks/same_network.py --shape {asked.shape} --batch {asked.batch}",
        "date": str(date.today()),
        "hardware": f"{device.describe(on, device.autocast_type(on, 'auto'))},"
        f" {platform.system()} {platform.machine()}",
        "threads": torch.get_num_threads(),
        "seed": 0,
        "rounds": asked.rounds,
        "versions": {
            "loang": loang.__version__,
            "torch": torch.__version__,
            **{
                package: version(package)
                for name, package in (
                    ("diffusers", "diffusers"),
                    ("ddpm-pytorch", "denoising-diffusion-pytorch"),
                )
                if name not in asked.without
            },
        },
    }
    print(f"{about['date']}  {about['hardware']}, {about['threads']} threads, {asked.shape}")
    print(f"{'':24}{'parameters':>12}{'GFLOP':>8}{'images/s':>10}{'GFLOP/s':>9}{'ratio':>7}")
    for name, row in rows.items():
        print(
            f"{name:24}{row['parameters']:12,}{row['flop_an_image'] / 1e9:8.2f}"
            f"{row['images_a_second']:10.2f}{row['flop_a_second'] / 1e9:9.0f}"
            f"{row['loang_is_faster_by']:7.2f}"
        )
    if asked.out:
        files.write_text(asked.out, json.dumps({**about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
