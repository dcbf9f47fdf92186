"""A model's network by torch, by onnxruntime and as a program of torch.export: size and speed.

    python benchmarks/onnx_speed.py --seconds 60 --out onnx.json
    python benchmarks/onnx_speed.py MODEL --threads 1

MODEL is a run's folder or a model file; without it, the model that ships. Its files are written as
`loang export` writes them, and their sizes and differences from torch's float32 are told. Then the
network is evaluated on the CPU in batches of 1 and of 16, in turns: one pass of each way a round,
all with so many threads. The table has medians, and the medians of the rounds' ratios to torch in
float32; above 1 is faster than it. Ways:

- torch: float32, and bfloat16 as `loang sample` computes where the processor has it;
- program: the .pt2, in float32;
- onnxruntime: the ONNX file, of float32 and of float16. On most CPUs onnxruntime computes float16
  in float32, and pays for the casts. Its threads do not wait busily here, as they would take the
  processor from the others.

    pip install -c constraints.txt '.[onnx]'
"""

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import loang
from loang import device, files
from loang.interop import torch_program
from loang.interop.bare_network import BareNetwork
from loang.interop.onnx import export
from loang.model import Model

BATCHES = (1, 16)
WARM_UP = 3
Pass = Callable[[], Any]


def written(model: Model, place: Path) -> list[dict[str, Any]]:
    """The files, their sizes, and how far their answers are off."""
    model.save(place / "model.safetensors")
    made = [{"file": "model.safetensors", "bytes": (place / "model.safetensors").stat().st_size}]
    for precision in ("float32", "float16"):
        graph = export.export(model, place / f"{precision}.onnx", precision=precision)
        program = torch_program.export(model, place / f"{precision}.pt2", precision=precision)
        for each in (graph, program):
            about = {"bytes": each.size, "difference": each.difference}
            made.append({"file": each.path.name, **about})
    return made


def session_of(path: Path, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def passes(model: Model, place: Path, batch: int, threads: int) -> dict[str, Pass]:
    """One pass of a batch, by each way."""
    network = BareNetwork(model.denoiser)
    # As a model is loaded: its convolutions find the channels last.
    network.network.to(memory_format=torch.channels_last)
    program = torch.export.load(place / "float32.pt2").module()
    inputs = network.trial(model, batch)
    arrays = {name: each.numpy() for name, each in zip(network.inputs, inputs, strict=True)}

    def by_torch(dtype: torch.dtype | None) -> Pass:
        def run() -> None:
            with torch.inference_mode(), device.autocast(torch.device("cpu"), dtype):
                network(*inputs)

        return run

    def by_program() -> None:
        with torch.inference_mode():
            program(*inputs)

    def by_onnx(precision: str) -> Pass:
        session = session_of(place / f"{precision}.onnx", threads)
        return lambda: session.run(None, arrays)

    return {
        "torch, float32": by_torch(None),
        "torch, bfloat16": by_torch(torch.bfloat16),
        "program, float32": by_program,
        "onnxruntime, float32": by_onnx("float32"),
        "onnxruntime, float16": by_onnx("float16"),
    }


def alternated(ways: dict[str, Pass], seconds: float) -> dict[str, list[float]]:
    """Seconds of each pass of each way, one round after another."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for run in ways.values():
        for _ in range(WARM_UP):
            run()
    start = time.perf_counter()
    while not taken["torch, float32"] or time.perf_counter() - start < seconds:
        for name, run in ways.items():
            began = time.perf_counter()
            run()
            taken[name].append(time.perf_counter() - began)
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", nargs="?", default="built-in")
    parser.add_argument("--seconds", type=float, default=60, help="for each batch")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, help="a JSON file")
    asked = parser.parse_args()

    torch.set_num_threads(asked.threads)
    model = Model.load(asked.model, on="cpu")
    about: dict[str, Any] = {
        "date": str(date.today()),
        "model": asked.model,
        "images": model.spec.described,
        "parameters": sum(each.numel() for each in model.denoiser.parameters()),
        "hardware": device.describe(torch.device("cpu"), None),
        "processor": platform.processor() or platform.machine(),
        "loang": loang.__version__,
        **{name: version(name) for name in ("torch", "onnx", "onnxruntime")},
        "files": [],
        "speed": [],
    }
    print(
        f"{about['date']}  {about['model']}, {about['parameters']:,} parameters, {about['images']}"
    )
    print(f"torch {about['torch']}, onnxruntime {about['onnxruntime']}; {about['hardware']}\n")
    with tempfile.TemporaryDirectory() as folder:
        about["files"] = written(model, Path(folder))
        for row in about["files"]:
            off = f"  {row['difference']:.1e} off" if "difference" in row else ""
            print(f"{row['file']:20}{row['bytes']:>12,} bytes{off}")
        print(
            f"\n{'batch':5}  {'way':22}{'ms a pass':>10}{'images/s':>10}{'ratio':>7}{'rounds':>8}"
        )
        for batch in BATCHES:
            taken = alternated(passes(model, Path(folder), batch, asked.threads), asked.seconds)
            for name, found in taken.items():
                median = statistics.median(found)
                pairs = zip(taken["torch, float32"], found, strict=True)
                row = {
                    "batch": batch,
                    "way": name,
                    "milliseconds": 1000 * median,
                    "images_per_second": batch / median,
                    "ratio": statistics.median(own / other for own, other in pairs),
                    "rounds": len(found),
                }
                about["speed"].append(row)
                print(
                    f"{batch:5}  {name:22}{row['milliseconds']:10.2f}"
                    f"{row['images_per_second']:10.1f}{row['ratio']:7.2f}{row['rounds']:8}",
                    flush=True,
                )
    if asked.out:
        files.write_text(asked.out, json.dumps(about, indent=2) + "\n")


if __name__ == "__main__":
    main()
