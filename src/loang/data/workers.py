"""The same work on many items, by threads."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from loang.processors import available

Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD = 8
"""Items a thread that are begun before the first result is taken: so many results wait at most."""


def in_threads(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """`work` of every item, in order, with as many threads as there are processors.

    An exception, Ctrl-C among them, ends it as soon as what has begun is done.
    """
    threads = available()
    with ThreadPoolExecutor(threads) as pool:
        waiting = deque[Future[Result]]()
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > AHEAD * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
