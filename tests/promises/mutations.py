"""Damage and malice: ways to spoil a sound file, each drawn from a `random.Random`."""

import json
import struct
from copy import deepcopy

SMALL = (0, 1, 2, 7, 8, 127, 128, 255, 256, 257, 65535, 65536)
NUMBERS = (*SMALL, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53, 2**63 - 1, 2**63, 2**64 - 1)
WIDTHS = {1: "B", 2: "H", 4: "I", 8: "Q"}


def deep(depth, leaf=1, by="list"):
    for _ in range(depth):
        leaf = [leaf] if by == "list" else {"a": leaf}
    return leaf


class Raw:
    """A text that is no value of JSON, but stands where one should."""

    def __init__(self, text):
        self.text = text


VALUES = (
    *(None, True, False, "", [], {}, 0, -1, 1, 2, 0.5, -0.0, 1e308, 5e-324, "x", "1"),
    *(10**6, 10**9, 10**12, 10**15, 2**31, 2**32, 2**53, 2**63, 2**64, -(2**63), 10**30),
    *("\0", "\x1b[2J", "../../x", "/dev/zero", "é" * 50, "x" * 5000, "NaN", "\u202e", "😀"),
    *([1] * 1000, ["x"] * 1000, [[]] * 100, {"a": 1}, [None], [1, 2, 3], [-1, -1], [2**31, 2**31]),
    *(deep(20), deep(31), deep(40), deep(40, by="object")),
    *(Raw("NaN"), Raw("Infinity"), Raw("-Infinity"), Raw("1e999"), Raw("9" * 5000), Raw("-0")),
    *(Raw(r'"\ud800"'), Raw("[" * 5000), Raw("[" * 2000 + "]" * 2000), Raw("01"), Raw("'x'")),
)
KEYS = ("format", "step", "size", "kind", "a", "", "__metadata__", "x" * 1000, "\0")


def damage(random, content, other=b""):
    """Bytes changed without any knowledge of what they mean."""
    data = bytearray(content)
    for _ in range(random.choice((1, 1, 1, 2, 3, 8))):
        if not data:
            return bytes(data)
        at = random.randrange(len(data))
        if random.random() < 0.4:  # headers are where it hurts
            at = min(at, random.randrange(min(len(data), 100)))
        length = random.choice((1, 2, 4, 16, 100, len(data)))
        match random.randrange(9):
            case 0 | 1:
                data[at] ^= 1 << random.randrange(8)
            case 2:
                data[at] = random.choice((0, 1, 0x7F, 0x80, 0xFE, 0xFF))
            case 3:
                del data[at:]
            case 4:
                del data[at : at + length]
            case 5:
                data[at:at] = data[at : at + length]
            case 6:
                source = other or data
                start = random.randrange(len(source))
                data[at : at + length] = source[start : start + length]
            case 7:
                data += random.randbytes(min(length, 1000))
            case _:
                width = random.choice(tuple(WIDTHS))
                number = random.choice(NUMBERS) % 2 ** (8 * width)
                data[at : at + width] = struct.pack(random.choice("<>") + WIDTHS[width], number)
    return bytes(data)


def places(value, path=()):
    """The paths of all values within a value of JSON."""
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*path, key))
    elif isinstance(value, list):
        for index in range(min(len(value), 5)):
            yield from places(value[index], (*path, index))


def twist(random, value):
    """JSON text of a value that is changed in one or a few places."""
    value = json.loads(json.dumps(value))
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        inner = [path for path in places(value) if path]
        if not inner:
            break
        path = random.choice(inner)
        owner = value
        for key in path[:-1]:
            owner = owner[key]
        match random.randrange(6):
            case 0 if isinstance(owner, dict):
                del owner[path[-1]]
            case 1 if isinstance(owner, dict):
                owner[random.choice(KEYS)] = deepcopy(random.choice(VALUES))
            case 2:
                owner[path[-1]] = deepcopy(random.choice(VALUES))
            case 3 if type(owner[path[-1]]) in (int, float):
                factor = random.choice((-1, 0, 0.5, 2, 1000, 10**9, 1e-9))
                owner[path[-1]] = owner[path[-1]] * factor
            case 4 if isinstance(owner[path[-1]], list):
                owner[path[-1]] = owner[path[-1]] * random.choice((0, 2, 1000))
            case _:
                owner[path[-1]] = random.choice(NUMBERS)
    text = written(value)
    if random.random() < 0.1 and "{" in text:  # a key twice
        key = random.choice(KEYS[:5])
        text = text.replace("{", "{" + json.dumps(key) + ": 1, " + json.dumps(key) + ": 2, ", 1)
    if random.random() < 0.1:
        text = damage(random, text.encode()).decode("utf-8", "surrogateescape")
    return text


def written(value):
    if isinstance(value, Raw):
        return value.text
    if isinstance(value, dict):
        inner = (f"{json.dumps(str(key))}: {written(each)}" for key, each in value.items())
        return "{" + ", ".join(inner) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    return json.dumps(value)


def as_bytes(text):
    return text.encode("utf-8", "surrogateescape")


def split(content):
    """Header and tensors of a sound safetensors file."""
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def join(random, header, tensors):
    """A safetensors file of such a header, its length now and then another."""
    length = len(header) if random.random() < 0.95 else random.choice(NUMBERS)
    return length.to_bytes(8, "little") + header + tensors


def twist_tensors(random, content, inner=None):
    """A safetensors file that is changed with knowledge of the format.

    Args:
        random: decides.
        content: of a sound file.
        inner: the key of its metadata that holds JSON, if one does.
    """
    header, tensors = split(content)
    choice = random.random()
    if inner and choice < 0.6:
        header["__metadata__"][inner] = twist(random, json.loads(header["__metadata__"][inner]))
        header["__metadata__"][inner] = (
            header["__metadata__"][inner].encode("utf-8", "replace").decode()
        )
        return join(random, json.dumps(header).encode(), tensors)
    if choice < 0.9:
        return join(random, as_bytes(twist(random, header)), tensors)
    numbers = bytearray(tensors)
    for _ in range(random.choice((1, 5))):
        odd = random.choice((b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\xff\xff\x7f\x7f", b"\1\0\0\0"))
        at = random.randrange(0, max(len(numbers) - 3, 1), 4)
        numbers[at : at + 4] = odd
    return join(random, json.dumps(header).encode(), bytes(numbers))
