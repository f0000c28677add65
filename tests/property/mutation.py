"""A mutator of byte strings for the fuzz tests: fast, and equal for equal seed."""

from collections.abc import Callable, Iterator, Sequence
from random import Random

POOL_MAX = 256  # samples kept: the given ones, then inputs that a decoder accepted
INPUT_BYTES_MAX = 4096  # longer mutants are cut: time goes into variety, not into copying
INTERESTING = bytes((0, 1, 0x1F, 0x20, 0x7F, 0x80, 0x81, 0xC0, 0xFE, 0xFF))
LENGTHS = (  # integers that length fields get wrong, big-endian
    b"\x00\x00\x00\x00",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\x80\x00\x00\x00",
    b"\xff\xff",
    b"\x00\x01\x00\x00",
    b"\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f",  # the largest varint
    b"\x80\x80\x80\x80\x80\x80\x80\x80\x01",
    b"\x1b\xff\xff\xff\xff\xff\xff\xff\xff",  # a CBOR integer, bytes, array and map of 2**64 - 1
    b"\x5b\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff",
)

Change = Callable[[bytearray, Random, Sequence[bytes]], object]


def _at(data: bytearray, rng: Random) -> int:
    return int(rng.random() * len(data))


def flip(data: bytearray, rng: Random, _pool: Sequence[bytes]) -> None:
    data[_at(data, rng)] ^= 1 << int(rng.random() * 8)


def replace(data: bytearray, rng: Random, _pool: Sequence[bytes]) -> None:
    data[_at(data, rng)] = INTERESTING[int(rng.random() * len(INTERESTING))]


def scramble(data: bytearray, rng: Random, _pool: Sequence[bytes]) -> None:
    data[_at(data, rng)] = int(rng.random() * 256)


def step(data: bytearray, rng: Random, _pool: Sequence[bytes]) -> None:
    """A byte one up or down: lengths, counts, versions and kinds are mostly one byte."""
    index = _at(data, rng)
    data[index] = (data[index] + (1 if rng.random() < 0.5 else 255)) & 255


def truncate(data: bytearray, rng: Random, _pool: Sequence[bytes]) -> None:
    del data[_at(data, rng) :]


def remove(data: bytearray, rng: Random, _pool: Sequence[bytes]) -> None:
    start = _at(data, rng)
    del data[start : start + 1 + int(rng.random() * 8)]


def duplicate(data: bytearray, rng: Random, _pool: Sequence[bytes]) -> None:
    start = _at(data, rng)
    piece = data[start : start + 1 + int(rng.random() * 32)]
    data[start:start] = piece


def insert(data: bytearray, rng: Random, _pool: Sequence[bytes]) -> None:
    start = _at(data, rng)
    data[start:start] = rng.randbytes(1 + int(rng.random() * 8))


def length(data: bytearray, rng: Random, _pool: Sequence[bytes]) -> None:
    start = _at(data, rng)
    wrong = LENGTHS[int(rng.random() * len(LENGTHS))]
    data[start : start + len(wrong)] = wrong


def splice(data: bytearray, rng: Random, pool: Sequence[bytes]) -> None:
    """The head of one sample with the tail of another."""
    other = pool[int(rng.random() * len(pool))]
    data[_at(data, rng) :] = other[int(rng.random() * len(other)) :]


def append(data: bytearray, rng: Random, pool: Sequence[bytes]) -> None:
    """One sample after another: what follows the end must not be taken as part of it."""
    data += pool[int(rng.random() * len(pool))]


CHANGES: tuple[Change, ...] = (
    *(flip, replace, scramble, step, truncate, remove, duplicate, insert, length, splice, append),
)
RANDOM_SHARE = 0.05  # of the inputs are random bytes altogether


class Mutator:
    """An endless source of inputs near `samples`; `keep` adds an accepted one to them."""

    def __init__(self, samples: Sequence[bytes], seed: int) -> None:
        assert samples, "a fuzz test needs at least one valid sample"
        self.rng = Random(seed)
        self.pool = list(samples)

    def inputs(self, count: int) -> Iterator[bytes]:
        """`count` inputs: the samples as they are first, then mutants and random bytes."""
        yield from self.pool[:count]
        rng, pool, random = self.rng, self.pool, self.rng.random
        changes, kinds = CHANGES, len(CHANGES)
        for _ in range(count - len(self.pool)):
            if random() < RANDOM_SHARE:
                yield rng.randbytes(int(random() * 64))
                continue
            data = bytearray(pool[int(random() * len(pool))])
            while True:
                if not data:
                    data += rng.randbytes(1)
                changes[int(random() * kinds)](data, rng, pool)
                if random() < 0.5:
                    break
            yield bytes(data[:INPUT_BYTES_MAX])

    def keep(self, accepted: bytes) -> None:
        """Mutate `accepted` too from now on (a sample at random makes room)."""
        if len(self.pool) < POOL_MAX:
            self.pool.append(accepted)
        else:
            self.pool[int(self.rng.random() * POOL_MAX)] = accepted
