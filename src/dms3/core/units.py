"""Units in which bounds are written: binary multiples of bytes, and the second in microseconds."""

KIB = 1024
MIB = 1024 * KIB
SECOND_US = 1_000_000
