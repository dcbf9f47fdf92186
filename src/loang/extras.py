"""Packages that loang can do without, and who is told to install them when they are wanted."""

from importlib import import_module
from types import ModuleType

from loang.errors import LoangError


def require(module: str, *, extra: str, purpose: str) -> ModuleType:
    """A module of a package that `pip install "loang[extra]"` brings.

    Args:
        module: its full name: "onnxruntime", "keras.layers".
        extra: of loang's, which names its package.
        purpose: what it is needed for, as the end of "needs the package ... ": "to write ONNX".

    Raises:
        LoangError: the package is not there, or can't be imported, as it refuses its settings.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise LoangError(
            f"loang needs the package {package} {purpose}, and it can't be imported ({error}).",
            f'Install it with pip install "loang[{extra}]".',
        ) from error
    except ValueError as error:  # of Keras, where KERAS_BACKEND names nothing that it knows
        reason = str(error).rstrip(".")
        raise LoangError(
            f"loang needs the package {module.partition('.')[0]} {purpose}, and it refuses its"
            f" settings ({reason}).",
            "Correct them, be they variables of the environment or a file of its own.",
        ) from error
