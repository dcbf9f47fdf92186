"""Which images are held out for validation: decided by each image's own content."""

import hashlib

import numpy as np
from jaxtyping import Bool, Int, Shaped, UInt8

VALIDATION_SHARE = 0.1
ALL_SAME = "All images are the same, and both train and validate."
ONLY_ONE = "There is only one image, which both trains and validates."


def content_digest(picture: Shaped[np.ndarray, "h w c"]) -> bytes:
    """SHA-256 of one picture's size, depth and values.

    A grey picture has the same digest whether it is stored with one channel or with three equal
    ones, so that the digest does not depend on what else is in the data set.
    """
    # The middle row tells most colour pictures from grey ones before all rows are compared.
    middle = picture.shape[0] // 2
    if picture.shape[2] == 3 and all(
        (rows == rows[..., :1]).all() for rows in (picture[middle : middle + 1], picture)
    ):
        picture = picture[..., :1]
    digest = hashlib.sha256(f"{picture.shape} {picture.dtype.name}".encode())
    digest.update(np.ascontiguousarray(picture).data)
    return digest.digest()


def split_rows(
    digests: UInt8[np.ndarray, "n d"], share: float = VALIDATION_SHARE
) -> tuple[Int[np.ndarray, " t"], Int[np.ndarray, " v"]]:
    """Row numbers to train on and row numbers to hold out, each in ascending order.

    A picture is held out when its digest, read as a number in [0, 1), is below `share`. So
    pictures added tomorrow move none of today's, and copies of one picture are never on both
    sides. Neither side is left empty: where one would be, the pictures that came closest to
    crossing do cross. Only where all pictures are the same do both sides hold all of them.

    Args:
        digests: one SHA-256 per picture, as `content_digest` gives it, or 8 or more of its first
            bytes; at least one.
        share: the part to hold out, in (0, 1).
    """
    numbers = np.ascontiguousarray(digests[:, :8]).view(">u8")[:, 0]
    if numbers.min() == numbers.max():
        everything = np.arange(len(numbers))
        return everything, everything
    held_out = numbers < np.uint64(int(share * 2.0**64))
    if not held_out.any():
        held_out = numbers == numbers.min()
    elif held_out.all():
        held_out = numbers != numbers.max()
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def sides(
    given: Bool[np.ndarray, " all"] | None,
    digests: UInt8[np.ndarray, "n 16"],
    chosen: Int[np.ndarray, " n"],
) -> tuple[Int[np.ndarray, " t"], Int[np.ndarray, " v"], list[str]]:
    """Which images to learn from and which to hold out: as is given, or by content; and why."""
    held = None if given is None else given[chosen]
    if held is None or held.all() or not held.any():
        train, held_out = split_rows(digests)
        said = []
        if np.array_equal(train, held_out):
            said = [ONLY_ONE if len(digests) == 1 else ALL_SAME]
        return train, held_out, said
    whole = np.ascontiguousarray(digests).view("V16")[:, 0]
    copies = int(np.isin(whole[held], whole[~held]).sum())
    said = [
        f"{copies:,} of the {int(held.sum()):,} images held out are also among those to learn"
        " from: what is measured on them is too good."
    ]
    return np.flatnonzero(~held), np.flatnonzero(held), said if copies else []
