"""The heap as the snapshot takes it: nothing dead in it, no holes, and nothing that the collector would touch."""

import gc

# Sizes in which the allocator hands out small blocks, and the bytes of a `bytes` object beside its content.
_STEP = 16
_LARGEST_SMALL = 512
_OVERHEAD = 17

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
    large = 4 * 1024 * 1024
    last = bytes(large)
    end = id(last)
    size = large // 2
    while size > _LARGEST_SMALL:
        size = size if _hold(bytes(size), end) else size * 3 // 4
    for size in range(_LARGEST_SMALL, _STEP, -_STEP):
        while _hold(bytes(size - _OVERHEAD), end):
            pass
    while _hold(object(), end):
        pass


def _hold(block: object, end: int) -> bool:
    fits = id(block) < end
    if fits:
        _filling.append(block)
    return fits
