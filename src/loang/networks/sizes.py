"""Which sizes of image a network that halves them can take."""

from loang.errors import LoangError


def check_size(height: int, width: int, multiple: int) -> None:
    """Whether height and width are multiples of that number.

    Raises:
        LoangError: they are not; the nearest size that is, is named.
    """
    if height % multiple or width % multiple:
        # A half is rounded up: enlarging loses nothing.
        sides = (max(1, (side + multiple // 2) // multiple) * multiple for side in (height, width))
        near = "x".join(map(str, sides))
        raise LoangError(
            f"This network needs a height and a width that are multiples of {multiple},"
            f" and {height}x{width} is not.",
            f"Use --size {near}.",
        )
