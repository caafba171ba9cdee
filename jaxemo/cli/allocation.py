"""What becomes of memory that a step is done with: the process keeps it for the next one."""

import ctypes
import os
import platform

# Numbers of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8


def keep_freed_memory() -> bool:
    """glibc gives no memory back to the system; nothing happens under another C library.

    XLA frees a step's temporaries when it ends. Blocks above 32 MB go back to the system then, and the
    next step's first touch of every page has it cleared anew: of a step of pre-training at base size
    (1.8 GB of temporaries) that is an eighth. For that the settings go together: no mappings of their
    own for large blocks, no trimming, and one arena for all threads, since XLA frees in another thread
    than it allocates. Call it before threads start. Settings that the user has given stand.

    Returns:
      Whether it is so.
    """
    given = any(name.startswith("MALLOC_") for name in os.environ)
    if platform.libc_ver()[0] != "glibc" or given or "GLIBC_TUNABLES" in os.environ:
        return False
    set_option = ctypes.CDLL(None).mallopt
    # -1 of the unsigned threshold: never.
    for option, value in ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1), (_M_ARENA_MAX, 1)):
        set_option(option, value)
    return True
