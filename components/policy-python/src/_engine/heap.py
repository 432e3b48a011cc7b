"""The heap as the snapshot takes it: nothing dead in it, and nothing that the collector would touch."""

import gc


def settle() -> None:
    """Collects, writes zeros over free memory, and tells the collector to leave alone what is alive.

    Free memory still holds what was last in it (for the most part the compiler's work for `stdlib`), and would go into the
    component as data. And a collection that walks the objects of the snapshot would write to most of its pages, which
    instances otherwise share.
    """
    gc.collect()
    _zero_free_memory()
    gc.freeze()


def _zero_free_memory() -> None:
    # `bytes` of a size are allocated as zeros, and the id of an object is its address. What is free lies below the first
    # large block, which lands behind all that is in use.
    large = 4 * 1024 * 1024
    filled = [bytes(large)]
    end = id(filled[0])
    size = large // 2
    while size >= 32:
        block = bytes(size)
        if id(block) < end:
            filled.append(block)
        else:
            size = size * 3 // 4
