"""How signatures are checked while testing: an int may stand where a float is asked for."""

import contextlib
from collections.abc import Iterator

from beartype import BeartypeConf, beartype
from jaxtyping import config

_checked = beartype(conf=BeartypeConf(is_pep484_tower=True))


def numeric(function):
    """The function, which checks what it is given and gives back."""
    # A function within another is made anew by each call, and to make its checks takes a while.
    if config.jaxtyping_disable and "<locals>" in function.__qualname__:
        return function
    return _checked(function)


@contextlib.contextmanager
def unchecked() -> Iterator[None]:
    """Within it, no signature is checked: as where people work.

    For whole runs, which would spend a quarter to a half of their time on checks; what shapes their
    parts are given, the tests of these parts see, and those of tests/test_checking.py.
    """
    before = config.jaxtyping_disable
    config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        config.update("jaxtyping_disable", before)
