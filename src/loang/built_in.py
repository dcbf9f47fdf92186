"""The model that ships in the package: Fashion-MNIST, by class, in under 4 MB."""

from importlib.resources import files
from pathlib import Path

NAME = "built-in"
"""What a person names it by, wherever a model is named."""
FILE = "fashion-mnist-model.safetensors"


def path() -> Path:
    """Of its file, beside which its card lies."""
    return Path(str(files("loang").joinpath("assets", FILE)))


def located(named: Path) -> Path:
    """What a person named: the file of this model, unless something else has its name."""
    return path() if str(named) == NAME and not named.exists() else named
