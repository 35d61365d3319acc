"""How much memory the process needs, sample by sample, and whether that grows.

What could be given back is given back before each sample: garbage, the free lists and the caches of
the interpreter, and what malloc keeps of what was freed. Without that the resident memory rises and
falls by the size of a round's largest containers, and says nothing. Growth is looked for between
the second quarter of the samples and the last: the first one warms up.
"""

import ctypes
import gc
import os
import statistics
import sys
from array import array
from typing import NamedTuple

PAGE = os.sysconf("SC_PAGE_SIZE")
FEW = 40  # samples; fewer tell nothing of growth

# What is a leak, in each measure: more than so much for each sample, and more than that altogether.
# The books of the interpreter's allocator are exact. Tables that have not found their size yet make
# the heap grow in short runs. Any object keeps an arena of the interpreter's, which is a MiB, so that
# some MiB come and go; not with PYTHONMALLOC=malloc, where there are no arenas (and no `objects`).
ARENAS = (3 if os.environ.get("PYTHONMALLOC") == "malloc" else 16) * 2**19
LIMITS = {
    "objects": (0.2, lambda count: 20),
    "heap": (24, lambda count: 2**24 / count),
    "resident": (512, lambda count: ARENAS),
    "mapped": (2**14, lambda count: 2**26),
}
_clear_caches = getattr(sys, "_clear_internal_caches", None) or sys._clear_type_cache
_libc = ctypes.CDLL(None)


class _Mallinfo2(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "0 1 2 3 hblkhd 5 6 uordblks 8 9".split()]


if hasattr(_libc, "mallinfo2"):
    _libc.mallinfo2.restype = _Mallinfo2


class Sample(NamedTuple):
    """What is in use after all was given back that could be."""

    objects: int  # blocks of the interpreter's allocator
    heap: int  # bytes that malloc has given out; 0 where it does not tell
    resident: int  # bytes in memory
    mapped: int  # bytes of address space

    def __str__(self):
        return (
            f"{self.resident / 2**20:.2f} MiB, {self.objects:,} objects, heap {self.heap:,} bytes"
        )


def look():
    """Gives back what can be, and looks what is left."""
    _clear_caches()
    gc.collect()
    heap = 0
    if hasattr(_libc, "malloc_trim"):
        _libc.malloc_trim(0)
    if hasattr(_libc, "mallinfo2"):
        found = _libc.mallinfo2()
        heap = found.uordblks + found.hblkhd
    with open("/proc/self/statm") as file:
        mapped, resident, *_ = (int(pages) * PAGE for pages in file.read().split())
    return Sample(sys.getallocatedblocks(), heap, resident, mapped)


class Samples:
    """Those of all rounds, in memory that is taken beforehand: the books must not grow, either."""

    def __init__(self, room):
        self._columns = Sample(*(array("q", bytes(8 * room)) for _ in Sample._fields))
        self._count = 0

    def take(self):
        """Takes one, which is lost when there is no room."""
        sample = look()
        if self._count < len(self._columns[0]):
            for column, value in zip(self._columns, sample, strict=True):
                column[self._count] = value
            self._count += 1
        return sample

    def growth(self):
        """By how much each measure is higher in the last quarter than in the second."""
        quarter = max(1, self._count // 4)
        found = {}
        for name, column in zip(Sample._fields, self._columns, strict=True):
            early = column[quarter : 2 * quarter]
            late = column[self._count - quarter : self._count]
            found[name] = statistics.median(late) - statistics.median(early)
        return found

    def complaints(self):
        """What grows, as texts."""
        if self._count < FEW:
            return []
        between = (
            self._count // 2
        )  # samples from the middle of the one quarter to that of the other
        return [
            f"{name} grew by {grown:,.0f} in {between} rounds"
            for name, grown in self.growth().items()
            if grown > LIMITS[name][0] * between and grown > LIMITS[name][1](self._count)
        ]
