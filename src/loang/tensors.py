"""Tensors on the disk: safetensors, and nothing that could run."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor


def save(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write named tensors to a file.

    Raises:
        OSError: the system refuses, for instance because the disk is full.
    """
    path.touch()
    mode = path.stat().st_mode  # what the person's umask gives; safetensors would make it private
    # safetensors wants tensors that lie in one piece.
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        save_file(plain, path, metadata=dict(metadata) if metadata else None)
    except SafetensorError as error:
        raise OSError(str(error)) from error
    path.chmod(mode)
