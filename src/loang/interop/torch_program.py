"""`loang export torch`: a model's network as a program of torch.export, for servers.

It runs without loang, in three lines:

    program = torch.export.load("model.pt2").module()
    inputs = torch.randn(16, 1, 28, 28), torch.full((16,), 500.0), torch.arange(16) % 10
    prediction = program(*inputs)[0]

What its inputs are at each level, and how an image follows, `description.py` says; that lies in the
file as JSON: `extra = {"loang.json": ""}`, then `torch.export.load(path, extra_files=extra)`.

A .pt2 is a zip that torch reads by its own rules: load only what you trust. loang itself reads none
but the one that it has just written, to compare it.
"""

import io
import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from loang import files
from loang.errors import LoangError
from loang.files import amount
from loang.interop.bare_network import (
    Answers,
    BareNetwork,
    Precision,
    check_difference,
    check_precision,
    difference,
)
from loang.interop.description import describe
from loang.model import Model

SUFFIX = ".pt2"
"""That torch wants."""
DESCRIPTION = "loang.json"
"""The description within the file."""


@dataclass(frozen=True)
class Exported:
    """What was written, and how near it is to the model.

    Args:
        path: of the program.
        size: of it, in bytes.
        precision: float32 or float16.
        inputs: their names, in order.
        images: height and width, in words.
        difference: the largest, of the loaded program, as a share of the largest answer.
    """

    path: Path
    size: int
    precision: str
    inputs: tuple[str, ...]
    images: str
    difference: float

    def sentences(self) -> list[str]:
        """For people."""
        return [
            f"A program of torch {torch.__version__}, {self.precision}, {amount(self.size)};"
            f" inputs {', '.join(self.inputs)}; any number of images of {self.images} at once.",
            f"Loaded again, it differs from the model by {self.difference:.1e} of the largest"
            " answer. Where there is torch and no loang:",
            f"  torch.export.load({str(self.path)!r}).module()({', '.join(self.inputs)})[0]",
        ]


def export(model: Model, out: Path, *, precision: str = "float32") -> Exported:
    """Write the model's network as a program; see the head of this file.

    The bare network (bare_network.py), its batch free and all other sizes fixed.

    Args:
        model: any that loang knows.
        out: the file, its name ending in .pt2, which is replaced whole or not at all.
        precision: "float32" or "float16".

    Raises:
        LoangError: the name has another end, the place can't be written, or the file does not
            answer as the model does: then nothing is written.
    """
    precise = check_precision(precision)
    if out.suffix != SUFFIX:
        raise LoangError(
            f"torch reads a program only from a file whose name ends in {SUFFIX}, not from"
            f" {out.name}.",
            f"Name it --out {files.shown(out.with_suffix(SUFFIX))}.",
        )
    files.check_folder(out.parent)
    reference = BareNetwork(model.denoiser)
    about = json.dumps(describe(model, reference) | {"precision": precise})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what torch will change in itself
        made = _program(model, precise)
        # Into memory, as torch ends the whole process where a disk is full.
        content = io.BytesIO()
        torch.export.save(made, content, extra_files={DESCRIPTION: about})
        found = difference(_loaded(content), reference, model)
    check_difference(found, precise, "the exported program")
    with files.replacing(out) as beside:
        files.write(beside, [content.getbuffer()])
    size = content.getbuffer().nbytes
    images = f"{model.spec.height}x{model.spec.width}"
    return Exported(out, size, precise, reference.inputs, images, found)


def _program(model: Model, precision: Precision) -> Any:
    network = BareNetwork(model.denoiser, precision)
    inputs = network.trial(model, 2)
    try:
        with torch.no_grad():
            program = torch.export.export(
                network, inputs, dynamic_shapes=network.free, strict=False
            )
    except Exception as error:  # torch documents no errors of its tracer
        reason = str(error).partition("\n")[0].rstrip(".") or type(error).__name__
        raise LoangError(
            f"torch can't write this network as a program: {reason}.",
            "Export it with `loang export onnx`, or with another version of torch.",
        ) from error
    for node in program.graph.nodes:  # each tells where in this machine its source lies
        node.meta.pop("stack_trace", None)
    return program


def _loaded(content: io.BytesIO) -> Any:
    """The program that was just saved there, as a runtime."""
    content.seek(0)
    program = torch.export.load(content).module()

    def answer(inputs: Sequence[Tensor]) -> Answers:
        with torch.no_grad():
            return tuple(program(*inputs))

    return answer
