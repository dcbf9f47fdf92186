"""What a pickle says, read as data: a list of instructions that is followed without Python's own.

A pickle is a program of a small machine, whose instructions may name any function and call it.
This one knows those that torch writes for a state dict, and calls nothing: plain values are made
as they are, tensors are described (`Described`), and every other name is refused. It takes memory
in proportion to the length of the program, which is limited. The instructions are those of Python's
documentation of pickle, protocols 2 to 5.
"""

import math
import struct
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import torch

from loang.tensors import MOST_SIDES
from loang.untrusted import shown

LONGEST_INTEGER = 9
"""Bytes: what 64 bits need, and a sign."""
STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


@dataclass(frozen=True)
class Memory:
    """A row of numbers in a file of its own: its name, how many, and of what type."""

    key: str
    count: int
    dtype: torch.dtype


@dataclass(frozen=True)
class Described:
    """A tensor that is not read yet; it lies within its memory, and is no larger."""

    memory: Memory
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """That its values take."""
        return math.prod(self.shape) * self.memory.dtype.itemsize


@dataclass(frozen=True)
class _Name:
    """A class or function that a program mentions, of those that are known."""

    module: str
    name: str


_MARK = object()
_KNOWN = {
    _Name("collections", "OrderedDict"),
    _Name("torch", "Size"),
    _Name("torch._utils", "_rebuild_tensor_v2"),
    _Name("torch._utils", "_rebuild_parameter"),
    *(_Name("torch", name) for name in STORAGES),
}
_PLAIN: dict[int, Callable[[], Any]] = {
    ord("N"): lambda: None,
    0x88: lambda: True,
    0x89: lambda: False,
    ord(")"): lambda: (),
    ord("]"): list,
    ord("}"): dict,
    ord("("): lambda: _MARK,
}
_COUNTS = {ord("K"): 1, ord("M"): 2}  # of bytes of a number from 0
_TEXTS = {0x8C: 1, ord("X"): 4, 0x8D: 8}  # of bytes that say how long a text is
_PUTS, _GETS = {ord("q"): 1, ord("r"): 4}, {ord("h"): 1, ord("j"): 4}
_TUPLES = {0x85: 1, 0x86: 2, 0x87: 3}


def follow(program: bytes) -> Any:
    """What a program makes: dicts, lists, tuples, texts, numbers and `Described` tensors.

    Raises:
        ValueError: it is cut, names what is unknown, or describes what can't be.
    """
    machine = _Machine(program)
    try:
        while machine.step():
            pass
    except IndexError as error:
        raise ValueError("its pickle is cut or damaged") from error
    return machine.pop()


class _Machine:
    def __init__(self, program: bytes) -> None:
        self.program, self.at = program, 0
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def step(self) -> bool:
        """Follow one instruction; False after the last."""
        code = self.take(1)[0]
        if code in _PLAIN:
            self.stack.append(_PLAIN[code]())
        elif code in _COUNTS:
            self.stack.append(self.number(_COUNTS[code]))
        elif code in _TEXTS:
            self.stack.append(self.text(_TEXTS[code]))
        elif code in _PUTS:
            self.memo[self.number(_PUTS[code])] = self.stack[-1]
        elif code == 0x94:
            self.memo[len(self.memo)] = self.stack[-1]
        elif code in _GETS:
            self.stack.append(self.remembered(self.number(_GETS[code])))
        elif code in _TUPLES:
            self.stack.append(tuple(reversed([self.pop() for _ in range(_TUPLES[code])])))
        elif code in _OTHERS:
            _OTHERS[code](self)
        elif code == ord("."):
            return False
        else:
            raise ValueError(f"its pickle has the instruction {code:#x}, which no weights need")
        return True

    def take(self, count: int) -> bytes:
        taken = self.program[self.at : self.at + count]
        if len(taken) < count:
            raise ValueError("its pickle is cut")
        self.at += count
        return taken

    def number(self, width: int) -> int:
        return int.from_bytes(self.take(width), "little")

    def text(self, width: int) -> str:
        return self.take(self.number(width)).decode("utf-8")

    def line(self) -> str:
        end = self.program.find(b"\n", self.at)
        if end < 0:
            raise ValueError("its pickle is cut")
        return self.take(end + 1 - self.at)[:-1].decode("utf-8")

    def remembered(self, index: int) -> Any:
        if index not in self.memo:
            raise ValueError("its pickle asks for what it never made")
        return self.memo[index]

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            raise ValueError("its pickle is damaged")
        return value

    def to_mark(self) -> list[Any]:
        values: list[Any] = []
        while (value := self.stack.pop()) is not _MARK:
            values.append(value)
        return values[::-1]

    def owner(self, kind: type) -> Any:
        """The last value, which must be of that kind."""
        if not isinstance(self.stack[-1], kind):
            raise ValueError("its pickle is damaged")
        return self.stack[-1]


def _frame(machine: _Machine) -> None:
    machine.take(8)


def _protocol(machine: _Machine) -> None:
    if machine.number(1) not in (2, 3, 4, 5):
        raise ValueError("its pickle is of an unknown protocol")


def _integer(machine: _Machine) -> None:
    machine.stack.append(int.from_bytes(machine.take(4), "little", signed=True))


def _long(machine: _Machine) -> None:
    length = machine.number(1)
    if length > LONGEST_INTEGER:
        raise ValueError("its pickle has a number of more than 64 bits")
    machine.stack.append(int.from_bytes(machine.take(length), "little", signed=True))


def _real(machine: _Machine) -> None:
    machine.stack.append(struct.unpack(">d", machine.take(8))[0])


def _tuple(machine: _Machine) -> None:
    machine.stack.append(tuple(machine.to_mark()))


def _append(machine: _Machine) -> None:
    value = machine.pop()
    machine.owner(list).append(value)


def _appends(machine: _Machine) -> None:
    values = machine.to_mark()
    machine.owner(list).extend(values)


def _set_item(machine: _Machine) -> None:
    value, key = machine.pop(), machine.pop()
    machine.owner(dict)[_key(key)] = value


def _set_items(machine: _Machine) -> None:
    values = machine.to_mark()
    if len(values) % 2:
        raise ValueError("its pickle is damaged")
    owner = machine.owner(dict)
    for key, value in zip(values[::2], values[1::2], strict=True):
        owner[_key(key)] = value


def _key(key: Any) -> Hashable:
    # Nothing else: the hash of tuples within tuples takes time without end.
    if not isinstance(key, str | int):
        raise ValueError("its pickle has a key that is neither a text nor a number")
    return key


def _build(machine: _Machine) -> None:
    machine.pop()  # what a state dict says of its modules' versions
    machine.owner(dict)


def _name_of_lines(machine: _Machine) -> None:
    machine.stack.append(_known(machine.line(), machine.line()))


def _name_of_stack(machine: _Machine) -> None:
    name, module = machine.pop(), machine.pop()
    machine.stack.append(_known(module, name))


def _known(module: Any, name: Any) -> _Name:
    if not isinstance(module, str) or not isinstance(name, str):
        raise ValueError("its pickle is damaged")
    found = _Name(module, name)
    if found not in _KNOWN:
        raise ValueError(f"it asks for {shown(f'{module}.{name}')}, which no weights need")
    return found


def _memory(machine: _Machine) -> None:
    match machine.pop():
        case ("storage", _Name("torch", kind), str(key), str(), int(count)) if (
            kind in STORAGES and count >= 0
        ):
            machine.stack.append(Memory(key, count, STORAGES[kind]))
        case _:
            raise ValueError("its pickle describes no memory of a tensor")


def _call(machine: _Machine) -> None:
    """What a call would make; nothing is called."""
    given, name = machine.pop(), machine.pop()
    match name, given:
        case _Name(_, "OrderedDict"), ():
            machine.stack.append({})
        case _Name(_, "Size"), (tuple(sides),):
            machine.stack.append(sides)
        case _Name(_, "_rebuild_parameter"), (Described() as tensor, *_):
            machine.stack.append(tensor)
        case (
            _Name(_, "_rebuild_tensor_v2"),
            (Memory() as memory, int(offset), tuple(shape), tuple(stride), *_),
        ):
            machine.stack.append(_tensor(memory, offset, shape, stride))
        case _:
            raise ValueError("its pickle calls what it should not, or with what it should not")


def _tensor(memory: Memory, offset: int, shape: Any, stride: Any) -> Described:
    numbers = (offset, *shape, *stride)
    if any(type(n) is not int or n < 0 for n in numbers) or len(shape) != len(stride):
        raise ValueError("its pickle has a tensor of no shape")
    if len(shape) > MOST_SIDES:
        raise ValueError(f"its pickle has a tensor of {len(shape)} sides")
    count = math.prod(shape)
    last = offset + sum((side - 1) * step for side, step in zip(shape, stride, strict=True))
    # A stride of 0 would make a tensor of any size from one number.
    if count > memory.count or (count and last >= memory.count):
        raise ValueError("its pickle has a tensor that is larger than its memory")
    return Described(memory, offset if count else 0, shape, stride)


_OTHERS: dict[int, Callable[[_Machine], None]] = {
    0x80: _protocol,
    0x95: _frame,
    ord("J"): _integer,
    0x8A: _long,
    ord("G"): _real,
    ord("t"): _tuple,
    ord("a"): _append,
    ord("e"): _appends,
    ord("s"): _set_item,
    ord("u"): _set_items,
    ord("b"): _build,
    ord("c"): _name_of_lines,
    0x93: _name_of_stack,
    ord("Q"): _memory,
    ord("R"): _call,
}
