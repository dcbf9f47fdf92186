"""`loang export onnx`: a model as one ONNX file, compared with torch before it is written."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from loang import files
from loang.errors import LoangError
from loang.extras import require
from loang.files import amount
from loang.interop.bare_network import (
    Answers,
    BareNetwork,
    Runtime,
    check_difference,
    check_precision,
    difference,
)
from loang.interop.departure import put_script
from loang.interop.description import describe
from loang.interop.onnx.graph import OPSET, Exporter, graph
from loang.model import Model

SUFFIX = ".onnx"
SCRIPT = "sample_with_onnx.py"
"""The sampler that lies beside the file."""
METADATA = "loang"
"""The key of the description in the file's metadata."""


@dataclass(frozen=True)
class Exported:
    """What was written, and how near it is to torch.

    Args:
        path: of the ONNX file.
        size: of it, in bytes.
        opset: the version of its operators.
        precision: float32 or float16.
        inputs: their names, in order.
        images: height and width, in words.
        difference: the largest, by onnxruntime, as a share of the network's largest answer.
        half_difference: the same, by torch in float16, where that is asked for: onnxruntime on a
            CPU computes float16 in float32.
        script: the sampler; None where another file of that name was left as it is.
    """

    path: Path
    size: int
    opset: int
    precision: str
    inputs: tuple[str, ...]
    images: str
    difference: float
    half_difference: float | None
    script: Path | None

    def sentences(self) -> list[str]:
        """For people."""
        lines = [
            f"ONNX, opset {self.opset}, {self.precision}, {amount(self.size)};"
            f" inputs {', '.join(self.inputs)}; any number of images of {self.images} at once.",
            f"onnxruntime and torch differ by {self.difference:.1e} of the largest answer.",
        ]
        if self.half_difference is not None:
            lines.append(
                f"Where every step is computed in float16, expect {self.half_difference:.1e} of it."
            )
        if self.script is None:
            lines.append(f"{SCRIPT} beside it is another one, and was left as it is.")
        return lines


def export(
    model: Model,
    out: Path,
    *,
    precision: str = "float32",
    opset: int | None = None,
    exporter: Exporter | None = None,
) -> Exported:
    """Write the model's network as ONNX, and a sampler beside it.

    The graph is the bare network (bare_network.py); its metadata hold what else the model is
    (description.py), as JSON under `loang`.

    Args:
        model: any that loang knows.
        out: the file, its name ending in .onnx, which is replaced whole or not at all.
        precision: "float32" or "float16".
        opset: of the operators; None takes 18.
        exporter: of torch; None takes what is best here.

    Raises:
        LoangError: the name has another end, a package is missing, the opset can't be, the place
            can't be written, or the file does not answer as the model does: then nothing is
            written.
    """
    if out.suffix != SUFFIX:
        raise LoangError(
            f"A file of ONNX is named {SUFFIX} in the end, and not {out.name}.",
            f"Name it --out {files.shown(out.with_suffix(SUFFIX))}.",
        )
    require("onnxruntime", extra="onnx", purpose="to compare what is written with torch")
    onnx = require("onnx", extra="onnx", purpose="to write ONNX")
    precise = check_precision(precision)
    files.check_folder(out.parent)
    reference = BareNetwork(model.denoiser)
    network = BareNetwork(model.denoiser, precise) if precise == "float16" else reference
    half = None
    if precise == "float16":
        # Asked first, as it tells a range that was left from a graph that is wrong.
        half = difference(as_runtime(network), reference, model)
        check_difference(half, precise, "torch")
    asked = OPSET if opset is None else opset
    made = graph(network, reference.trial(model, 2), asked, exporter)
    made.doc_string = "A denoiser's network. What else the model is: metadata, loang."
    about = describe(model, reference) | {"opset": asked, "precision": precise}
    onnx.helper.set_model_props(made, {METADATA: json.dumps(about)})
    onnx.checker.check_model(made)
    content: bytes = made.SerializeToString()

    found = difference(runtime(content), reference, model)
    check_difference(found, precise, "onnxruntime")
    with files.replacing(out) as beside:
        files.write(beside, [content])
    return Exported(
        path=out,
        size=len(content),
        opset=asked,
        precision=precise,
        inputs=network.inputs,
        images=f"{model.spec.height}x{model.spec.width}",
        difference=found,
        half_difference=half,
        script=put_script(out.with_name(SCRIPT), _script()),
    )


def runtime(content: bytes) -> Runtime:
    """The bytes of an ONNX file as onnxruntime computes it, on the CPU.

    Raises:
        LoangError: onnxruntime is missing, or can't read it.
    """
    ort = require("onnxruntime", extra="onnx", purpose="to run ONNX")
    options = ort.SessionOptions()
    # Threads that wait busily are of use where there is more to do than this.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # errors; warnings are about its own optimisations
    try:
        session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of a class that onnxruntime keeps to itself
        reason = str(error).partition("\n")[0].rstrip(".")
        raise LoangError(
            f"onnxruntime can't take the graph: {reason}.",
            f"Choose --opset {OPSET}, or install a newer onnxruntime.",
        ) from error
    names = [each.name for each in session.get_inputs()]

    def answer(inputs: Sequence[Tensor]) -> Answers:
        arrays: dict[str, Any] = dict(zip(names, (each.numpy() for each in inputs), strict=True))
        return tuple(torch.from_numpy(each) for each in session.run(None, arrays))

    return answer


def as_runtime(network: BareNetwork) -> Runtime:
    """The network as torch computes it here."""

    def answer(inputs: Sequence[Tensor]) -> Answers:
        with torch.no_grad():
            answered: Answers = network(*inputs)
        return answered

    return answer


def _script() -> str:
    """The sampler's text."""
    return resources("loang").joinpath("interop", "onnx", SCRIPT).read_text(encoding="utf-8")
