"""CRC-32C (Castagnoli), the checksum of TensorFlow's checkpoints: RFC 3720, appendix B.4.

A byte at a time it would take minutes for a network's weights. The checksum's register is linear
over bits: long data are cut into rows that numpy walks through side by side, and the rows'
registers are then joined, each moved on by the bytes that follow it.
"""

from functools import lru_cache

import numpy as np
from jaxtyping import UInt8, UInt32

POLYNOMIAL = 0x82F63B78
ROW = 1024
"""Bytes that are walked through one after another."""
CHUNK = 2**24
"""Bytes that are looked at together: their copies are all the memory that this takes."""


def _table() -> UInt32[np.ndarray, "256"]:
    values = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        values = np.where(values & 1, (values >> 1) ^ np.uint32(POLYNOMIAL), values >> 1)
    return values.astype(np.uint32)


_TABLE = _table()
_NUMBERS = [int(value) for value in _TABLE]
SHORT = 2**13
"""Bytes for which a loop is the faster way."""


def crc32c(data: bytes | memoryview) -> int:
    """The checksum of the bytes, 32 bits."""
    if len(data) <= SHORT:
        state = 0xFFFFFFFF
        for byte in bytes(data):
            state = _NUMBERS[(state ^ byte) & 0xFF] ^ state >> 8
        return state ^ 0xFFFFFFFF
    values = np.frombuffer(data, dtype=np.uint8)
    register = np.array([0xFFFFFFFF], dtype=np.uint32)
    for start in range(0, len(values), CHUNK):
        chunk = values[start : start + CHUNK]
        register = _moved(register, len(chunk)) ^ _register(chunk)
    return int(register[0]) ^ 0xFFFFFFFF


def masked(checksum: int) -> int:
    """As it is stored: a checksum of bytes that hold checksums is no good one."""
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _register(values: UInt8[np.ndarray, " bytes"]) -> UInt32[np.ndarray, "1"]:
    """The register after the bytes, begun at 0; zeros before them change nothing then."""
    rows = 1
    while rows * ROW < len(values):
        rows *= 2
    padded = np.zeros(rows * ROW if rows > 1 else len(values), dtype=np.uint8)
    padded[len(padded) - len(values) :] = values
    state = np.zeros(rows, dtype=np.uint32)
    for column in np.ascontiguousarray(padded.reshape(rows, -1).T):
        state = _TABLE[(state ^ column) & 0xFF] ^ (state >> 8)
    move = _power(ROW) if rows > 1 else None
    while len(state) > 1:
        assert move is not None
        state = _applied(move, state[::2]) ^ state[1::2]
        move = _applied(move, move)
    return state


def _moved(state: UInt32[np.ndarray, " n"], count: int) -> UInt32[np.ndarray, " n"]:
    """Registers after `count` bytes of zero more."""
    return _applied(_power(count), state)


@lru_cache(maxsize=256)
def _power(count: int) -> UInt32[np.ndarray, "32"]:
    """What `count` bytes of zero make of each of the register's bits."""
    bits = np.uint32(1) << np.arange(32, dtype=np.uint32)
    step, result = _TABLE[bits & 0xFF] ^ (bits >> 8), bits
    while count:
        if count & 1:
            result = _applied(step, result)
        step = _applied(step, step)
        count >>= 1
    return result


def _applied(
    move: UInt32[np.ndarray, "32"], state: UInt32[np.ndarray, " n"]
) -> UInt32[np.ndarray, " n"]:
    """A linear map, given by what it makes of each bit, applied to registers."""
    result = np.zeros_like(state)
    for bit in range(32):
        result ^= np.where(state >> np.uint32(bit) & 1, move[bit], np.uint32(0)).astype(np.uint32)
    return result
