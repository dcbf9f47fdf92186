"""The same work on many items, by threads."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from loang.data.download import Progress

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    label: str = "",
    on_progress: Progress | None = None,
) -> list[Result]:
    """`work` of every item, in order, with as many threads as there are processors.

    An exception, Ctrl-C among them, ends it as soon as what has begun is done.
    """
    results = list[Result]()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            for result in pool.map(work, items):
                results.append(result)
                if on_progress is not None:
                    on_progress(label, len(results), len(items))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return results
