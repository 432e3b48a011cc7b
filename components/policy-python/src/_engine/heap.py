"""The heap as a snapshot takes it: nothing dead in it, and nothing that the collector would touch."""

import gc

# Sizes in which the allocator hands out small blocks, and the bytes of a `bytes` object beside its content.
_STEP = 16
_LARGEST_SMALL = 512
_OVERHEAD = 17
# A block that no hole has room for, and the smallest hole that is worth the time: it has a page of its own, as hosts keep memory.
_LARGE = 4 * 1024 * 1024
_PAGES = 8 * 1024
# Bytes of source and packages from which on cleaning gains more than the memory costs that it takes: calls begin with as much.
_WORTH = 32 * 1024

_filling = []


def settle() -> None:
    """Collects, fills the holes, and tells the collector to leave alone what is alive.

    What an instance writes to is copied for it, a page at a time. Its new objects would go into the holes between those of
    the snapshot, a page for each few; with the holes filled they lie side by side in memory that was never used. And a
    collection that walks the objects of the snapshot would write to most of its pages.
    """
    gc.collect()
    _fill()
    gc.freeze()


def _fill() -> None:
    # Free memory still holds what was last in it (for the most part the compiler's work for `stdlib`), and would go into
    # the component as data: `bytes` of a size are allocated as zeros. The id of an object is its address. What is free lies
    # below the first large block, which lands behind all that is in use; that block alone is given back.
    last = bytes(_LARGE)
    end = id(last)
    _hold_down_to(_LARGEST_SMALL, end, _filling)
    for size in range(_LARGEST_SMALL, _STEP, -_STEP):
        while _hold(bytes(size - _OVERHEAD), end, _filling):
            pass
    while _hold(object(), end, _filling):
        pass


def clean(loaded: int) -> None:
    """Collects, writes zeros over what is free in one piece, and tells the collector to leave alone what is alive.

    What a setup of `loaded` bytes left free holds what was last in it, for the most part the compiler's work, and hosts keep
    each page that is not as it was. Unlike `settle`, this gives the holes back.
    """
    gc.collect()
    if loaded >= _WORTH:
        _wipe()
    gc.freeze()


def _wipe() -> None:
    held: list[object] = []
    try:
        last = bytes(_LARGE)
        _hold_down_to(_PAGES, id(last), held)
    except MemoryError:
        # Near the limit there is no room to look for room.
        pass


def _hold_down_to(smallest: int, end: int, held: list[object]) -> None:
    size = _LARGE // 2
    while size > smallest:
        size = size if _hold(bytes(size), end, held) else size * 3 // 4


def _hold(block: object, end: int, held: list[object]) -> bool:
    fits = id(block) < end
    if fits:
        held.append(block)
    return fits
