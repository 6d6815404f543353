"""An ordered map over worker threads that looks only a little ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from .memory import share_heap

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def ordered_map(function: Callable[[_Item], _Result], items: Iterable[_Item], workers: int) -> Iterator[_Result]:
    """Yield `function(item)` for each item, in order, computed by `workers` threads.

    At most two items a worker are taken ahead of the caller. An exception of `function` is raised in its turn and ends
    the iteration. Calls that have not begun are then cancelled, also when the caller closes the iterator.
    """
    share_heap()
    ahead: deque[Future[_Result]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="pocketlens") as pool:
        try:
            for item in items:
                ahead.append(pool.submit(function, item))
                if len(ahead) > 2 * workers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()
