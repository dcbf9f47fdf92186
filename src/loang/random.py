"""Every random number: a function of (seed, purpose, step, index), and of nothing else.

No global generator is read or seeded anywhere. From this follow: a resumed run needs no generator
state, sample `i` is the same whatever else is drawn in its batch, devices and processes differ,
and drawing a picture changes no training step.

The numbers come from the counter-based generator Philox4x32-10 (Salmon et al. 2011, "Parallel
random numbers: as easy as 1, 2, 3"): a bijection of a 128-bit counter under a 64-bit key. The key
is a hash of (seed, purpose); the counter is (block, index, index's high word, step). It is written
in tensor operations, so a batch is one call and every device draws the same integers.
"""

import hashlib
import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor

_MASK = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_BELOW_ONE = 1 - 2.0**-24  # the largest float32


def normal(
    shape: Sequence[int], *, seed: int, purpose: str, step: int, indices: Int[Tensor, " n"]
) -> Float[Tensor, "n ..."]:
    """Standard normal numbers, float32, of shape (len(indices), *shape).

    Box and Muller's transform; the largest magnitude that it can give is 6.76 (its uniform
    numbers have 32 bits). Between devices the last bits can differ as their logarithms do.

    Args:
        shape: the shape of one item.
        seed: any integer.
        purpose: what the numbers are for; different words give independent numbers.
        step: 0 or more, below 2**32.
        indices: one non-negative integer an item; the device is that of the result.
    """
    count = math.prod(shape)
    even = count + count % 2  # two words make two numbers
    bits = words(even, seed=seed, purpose=purpose, step=step, indices=indices)
    # (w + 1/2) / 2**32 lies in (0, 1), so the logarithm is finite. Halves, not neighbours, are
    # paired: both slices are then contiguous.
    uniform = (bits.to(_widest(bits.device)) + 0.5) * 2.0**-32
    first, second = uniform.chunk(2, dim=1)
    radius = (-2.0 * first.log()).sqrt()
    angle = (2.0 * math.pi) * second
    drawn = torch.cat((radius * angle.cos(), radius * angle.sin()), dim=1).to(torch.float32)
    return drawn[:, :count].reshape(len(indices), *shape)


def uniform(
    *, seed: int, purpose: str, step: int, indices: Int[Tensor, " n"]
) -> Float[Tensor, " n"]:
    """One number in [0, 1) an index, of 32 bits, float64 where the device has it."""
    bits = words(1, seed=seed, purpose=purpose, step=step, indices=indices)[:, 0]
    found = bits.to(_widest(bits.device)) * 2.0**-32
    return found.clamp(max=_BELOW_ONE)  # float32 rounds the largest of them up to 1


def integers(
    low: int, high: int, *, seed: int, purpose: str, step: int, indices: Int[Tensor, " n"]
) -> Int64[Tensor, " n"]:
    """One integer in low..high, both included, an index; high - low below 2**31.

    The bias of the multiply-and-shift is below (high - low) / 2**32.
    """
    bits = words(1, seed=seed, purpose=purpose, step=step, indices=indices)[:, 0]
    return low + ((bits * (high - low + 1)) >> 32)


def words(
    count: int, *, seed: int, purpose: str, step: int, indices: Int[Tensor, " n"]
) -> Int64[Tensor, "n count"]:
    """`count` random 32-bit words an index, each in 0..2**32-1, kept in int64."""
    if not 0 <= step <= _MASK:
        raise ValueError(f"step {step} is outside 0..2**32-1")
    indices = indices.to(torch.int64)
    blocks = torch.arange((count + 3) // 4, device=indices.device)
    shape = (len(indices), len(blocks))
    counter = (
        blocks[None, :].expand(shape),
        (indices & _MASK)[:, None].expand(shape),
        (indices >> 32)[:, None].expand(shape),
        torch.full((1, 1), step, device=indices.device).expand(shape),
    )
    # The four words of all blocks follow one another, so that no transpose is paid for.
    return torch.cat(philox(counter, key(seed, purpose)), dim=1)[:, :count]


def key(seed: int, purpose: str) -> tuple[int, int]:
    """The 64-bit key of a seed and a purpose, as two words."""
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:8], "little")


def philox(
    counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Philox4x32-10: four words in, four words out, elementwise; words are int64 in 0..2**32-1."""
    c0, c1, c2, c3 = torch.broadcast_tensors(*counter)
    # Both halves of a round at once: a small draw costs as much as its operations are many.
    multiplied, mixed = torch.stack((c0, c2)), torch.stack((c1, c3))
    multipliers, *keys = _constants(key, c0.device, c0.ndim)
    for each in keys:
        # A product of two words fills 64 bits; as int64 it wraps, and its halves are still right.
        product = (multiplied * multipliers).flip(0)
        multiplied = (product >> 32).bitwise_xor_(mixed).bitwise_xor_(each)
        # What lies above 32 bits goes here, and of what is only mixed in at the end.
        multiplied.bitwise_and_(_MASK)
        mixed = product
    mixed = mixed & _MASK
    return multiplied[0], mixed[0], multiplied[1], mixed[1]


def _constants(key: tuple[int, int], device: torch.device, beside: int) -> tuple[Tensor, ...]:
    """The multipliers, and what each round mixes in, of both halves; sent as one tensor.

    Args:
        key: of the generator.
        device: where it computes.
        beside: dimensions that the halves have beside their own.
    """
    rows = [
        [(word + number * step) & _MASK for word, step in zip(key, _WEYL, strict=True)]
        for number in range(_ROUNDS)
    ]
    table = torch.tensor([list(_MULTIPLIERS), *rows], device=device)
    return table.view(1 + _ROUNDS, 2, *[1] * beside).unbind()


def _widest(device: torch.device) -> torch.dtype:
    """Apple's GPUs have no float64."""
    return torch.float32 if device.type == "mps" else torch.float64
