"""The C library's allocator, which keeps freed memory until it is asked to return it."""


def return_memory() -> None:
    """Return freed memory to the system: malloc_trim(3) of the GNU C library.

    By itself, that library returns what is at the end of its heap. Behind many answers that were not read, most is not.
    It takes about half a millisecond for a megabyte. Other C libraries have no such function, and keep their ways.
    """
    import ctypes  # noqa: PLC0415  # it is seldom needed, and takes time and memory

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
