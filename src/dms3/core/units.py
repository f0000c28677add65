"""Units in which bounds are written: binary multiples of bytes, and the second in microseconds."""

KIB = 1024
MIB = 1024 * KIB
SECOND_US = 1_000_000

_WRITTEN = (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", MIB), ("KiB", KIB))


def size_text(count: int) -> str:
    """`count` bytes as settings write them: "64MiB", "100000"."""
    for unit, each in _WRITTEN:
        if count and count % each == 0:
            return f"{count // each}{unit}"
    return str(count)
