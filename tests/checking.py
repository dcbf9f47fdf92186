"""How signatures are checked while testing: an int may stand where a float is asked for.

To check a call takes about as long as to run the small functions of which loang is made, and half
of all the time of the tests went there. What a loop gives a function is alike from round to round:
so the first calls of each function in each test are checked, and of the others some.
"""

import contextlib
import functools
import inspect
from collections.abc import Iterator

import jaxtyping
from beartype import BeartypeConf, beartype
from jaxtyping import config, install_import_hook

FIRST, ONE_IN = 8, 32
"""Calls of a function that each test checks, and of how many further ones one is checked."""

_checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
_jaxtyped = jaxtyping.jaxtyped
_counts: dict[int, int] = {}


def install() -> None:
    """From here on, what is imported of loang is checked."""
    jaxtyping.jaxtyped = sparing
    install_import_hook("loang", "checking.numeric").__enter__()


def anew() -> None:
    """Another test begins."""
    _counts.clear()


def numeric(function):
    """The function, which checks what it is given and gives back."""
    return _checked(function)


def sparing(function=None, *, typechecker):
    """The function, some of whose calls are checked; of a class, what jaxtyping makes of it."""
    if function is None:
        return functools.partial(sparing, typechecker=typechecker)
    if not inspect.isfunction(function):
        return _jaxtyped(function, typechecker=typechecker)
    code = id(function.__code__)
    if "<locals>" in function.__qualname__:
        # A function within another is made anew by each call, and to make its checks takes a while.
        return _jaxtyped(function, typechecker=typechecker) if _due(code) else function
    checked = None

    @functools.wraps(function)
    def either(*args, **kwargs):
        __tracebackhide__ = True
        nonlocal checked
        if not _due(code):
            return function(*args, **kwargs)
        # Not before: of all functions that are imported, most are never called.
        checked = checked or _jaxtyped(function, typechecker=typechecker)
        return checked(*args, **kwargs)

    return either


def _due(code: int) -> bool:
    if config.jaxtyping_disable:
        return False
    count = _counts[code] = _counts.get(code, 0) + 1
    return count <= FIRST or count % ONE_IN == 0


@contextlib.contextmanager
def unchecked() -> Iterator[None]:
    """Within it, no signature is checked: as where people work.

    For whole runs, of which even some checks would be many; what shapes their parts are given, the
    tests of these parts see, and those of tests/test_checking.py.
    """
    before = config.jaxtyping_disable
    config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        config.update("jaxtyping_disable", before)
