"""From a bare network to an ONNX graph, by torch's exporters.

There are two of them. On torch 2.13 both write the same function in a file of the same size; the
one that traces (TorchScript) takes a second, the one that decomposes (dynamo) ten and more, and
it needs onnxscript besides. Only the first works well on the oldest torch that loang runs on;
torch will drop it some day. So it is tried first where it is there and knows the opset, and the
other after it; what either wrote is compared with torch before it is handed on (bare_network.py).
"""

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import torch
from torch import Tensor

import loang
from loang.errors import LoangError
from loang.extras import require
from loang.interop.bare_network import BareNetwork

Exporter = Literal["torchscript", "dynamo"]
OPSET = 18
"""Where nobody says: of December 2022, which runtimes of any kind know by now."""
OLDEST, NEWEST_TRACED = 14, 20
"""Before 14 there is no attention; torch 2.5 traces up to 20, a later one further."""
BATCH = "n"
"""What the one free axis is called."""
LARGEST = 2**31 - 2**20
"""Bytes of one file: protobuf can't count further. The rest is room for the graph."""


def graph(
    network: BareNetwork, inputs: tuple[Tensor, ...], opset: int, exporter: Exporter | None = None
) -> Any:
    """The ONNX model (`onnx.ModelProto`), weights within, batch free, all other sizes fixed.

    Height and width are fixed because how an odd size is padded is decided as the graph is made.

    Args:
        network: in evaluation mode.
        inputs: an example of them, of two images or more.
        opset: the version of the operators.
        exporter: None takes what is best here.

    Raises:
        LoangError: the weights are too many for one file, or the exporter can't do it.
    """
    size = sum(weight.nbytes for weight in network.state_dict().values())
    if size > LARGEST:
        raise LoangError(
            f"The weights take {size / 1e9:.1f} GB, and an ONNX file holds 2 GB at most.",
            "Export it in float16, or with `loang export torch`.",
        )
    newest = require("onnx", extra="onnx", purpose="to write ONNX").defs.onnx_opset_version()
    if not OLDEST <= opset <= newest:
        why = "lacks what the network is made of" if opset < OLDEST else "is not known here"
        # How far torch goes, it says only when it is asked to write.
        raise LoangError(
            f"Opset {opset} {why}.",
            f"Choose --opset {OLDEST} or a few more; {OPSET} is what is taken otherwise.",
        )
    for chosen in [exporter] if exporter else _in_order(opset):
        make = _traced if chosen == "torchscript" else _decomposed
        try:
            # What the exporters print and warn of is for their own developers.
            with warnings.catch_warnings(), _silence(), torch.no_grad():
                warnings.simplefilter("ignore")
                model = make(network, inputs, opset)
            break
        except LoangError:
            raise
        except Exception as error:  # torch documents no errors of its exporters
            reason, cause = str(error).partition("\n")[0].rstrip(".") or type(error).__name__, error
    else:
        raise LoangError(
            f"torch can't write this network as ONNX of opset {opset}: {reason}.",
            f"Choose --opset {OPSET}, or another version of torch.",
        ) from cause
    written = max((each.version for each in model.opset_import if not each.domain), default=0)
    if written != opset:
        raise LoangError(
            f"torch writes ONNX of opset {written} here, and not of {opset}.",
            f"Choose --opset {written}.",
        )
    _tidy(model)
    return model


def _in_order(opset: int) -> list[Exporter]:
    """Which exporter is tried first, and which after it."""
    from torch import onnx

    traces = opset <= NEWEST_TRACED and hasattr(onnx, "utils")  # where the one that traces lies
    return ["torchscript", "dynamo"] if traces else ["dynamo"]


def _traced(network: BareNetwork, inputs: tuple[Tensor, ...], opset: int) -> Any:
    onnx = require("onnx", extra="onnx", purpose="to write ONNX")
    names = [*network.inputs, *network.outputs]
    buffer = io.BytesIO()
    torch.onnx.export(
        network,
        inputs,
        buffer,  # type: ignore[arg-type]  # the other exporter takes names alone
        input_names=list(network.inputs),
        output_names=list(network.outputs),
        dynamic_axes={name: {0: BATCH} for name in names},
        opset_version=opset,
        dynamo=False,
    )
    return onnx.load_model_from_string(buffer.getvalue())


def _decomposed(network: BareNetwork, inputs: tuple[Tensor, ...], opset: int) -> Any:
    require("onnxscript", extra="onnx", purpose="to write ONNX")
    program = torch.onnx.export(
        network,
        inputs,
        input_names=list(network.inputs),
        output_names=list(network.outputs),
        dynamic_shapes=network.free,
        opset_version=opset,
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    return program.model_proto


def _tidy(model: Any) -> None:
    """Takes the machine's paths out, which the exporter notes at each node, and signs the rest."""
    model.producer_name, model.producer_version = "loang", loang.__version__
    axis = model.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        _forget((value,))
        for side in value.type.tensor_type.shape.dim:
            if side.dim_param == axis:
                side.dim_param = BATCH
    _forget((model, model.graph, *model.graph.node, *model.graph.initializer, *model.functions))


def _forget(parts: Iterable[Any]) -> None:
    for part in parts:
        part.ClearField("doc_string")
        if hasattr(part, "metadata_props"):
            part.ClearField("metadata_props")


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Nothing is printed meanwhile: where tracing fails, torch prints a graph from within C++."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    kept = [(place, os.dup(place)) for place in (1, 2)]
    try:
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 (there is no path of that name)
            for place, _ in kept:
                os.dup2(nowhere.fileno(), place)
        yield
    finally:
        for place, before in kept:
            os.dup2(before, place)
            os.close(before)
