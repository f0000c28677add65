"""Sets that keep the order in which things came, in place of Python's.

Source: docs/sandbox.md, "The same everywhere". The hash of a text differs from one runner to the
next, and with it the order of Python's sets; a rule must not see it. Slower than Python's.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, KeysView
from typing import Any, Self


class Ordered:
    """What both kinds of sets can."""

    __slots__ = ("_items",)

    def __init__(self, items: Iterable[Any] = ()) -> None:
        self._items: dict[Any, None] = dict.fromkeys(items)

    def __class_getitem__(cls, _item: object) -> type:
        return cls

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, item: object) -> bool:
        return item in self._items

    def __repr__(self) -> str:
        name = type(self).__name__
        inside = ", ".join(map(repr, self._items))
        if not inside:
            return f"{name}()"
        return f"{{{inside}}}" if name == "set" else f"{name}({{{inside}}})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Ordered):
            return NotImplemented
        return _keys(self) == _keys(other)

    __hash__ = None  # type: ignore[assignment]

    def __le__(self, other: object) -> bool:
        return _keys(self) <= _keys(other) if isinstance(other, Ordered) else NotImplemented

    def __lt__(self, other: object) -> bool:
        return _keys(self) < _keys(other) if isinstance(other, Ordered) else NotImplemented

    def __ge__(self, other: object) -> bool:
        return _keys(self) >= _keys(other) if isinstance(other, Ordered) else NotImplemented

    def __gt__(self, other: object) -> bool:
        return _keys(self) > _keys(other) if isinstance(other, Ordered) else NotImplemented

    def __and__(self, other: Iterable[Any]) -> Any:
        return self.intersection(other)

    def __or__(self, other: Iterable[Any]) -> Any:
        return self.union(other)

    def __sub__(self, other: Iterable[Any]) -> Any:
        return self.difference(other)

    def __xor__(self, other: Iterable[Any]) -> Any:
        return self.symmetric_difference(other)

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__

    def __rsub__(self, other: Iterable[Any]) -> Any:
        return type(self)(item for item in other if item not in self._items)

    def union(self, *others: Iterable[Any]) -> Any:
        """Everything that is in one of them."""
        return type(self)(itertools.chain(self._items, *others))

    def intersection(self, *others: Iterable[Any]) -> Any:
        """What is in all of them, in the order of this set."""
        kept = [dict.fromkeys(other) for other in others]
        return type(self)(item for item in self._items if all(item in each for each in kept))

    def difference(self, *others: Iterable[Any]) -> Any:
        """What is in none of the others."""
        gone = [dict.fromkeys(other) for other in others]
        return type(self)(item for item in self._items if not any(item in each for each in gone))

    def symmetric_difference(self, other: Iterable[Any]) -> Any:
        """What is in one of both."""
        theirs = dict.fromkeys(other)
        found = [item for item in self._items if item not in theirs]
        return type(self)(found + [item for item in theirs if item not in self._items])

    def isdisjoint(self, other: Iterable[Any]) -> bool:
        """Whether nothing is in both."""
        return not any(item in self._items for item in other)

    def issubset(self, other: Iterable[Any]) -> bool:
        """Whether `other` has everything that is in this set."""
        return _keys(self) <= dict.fromkeys(other).keys()

    def issuperset(self, other: Iterable[Any]) -> bool:
        """Whether this set has everything that is in `other`."""
        return _keys(self) >= dict.fromkeys(other).keys()

    def copy(self) -> Any:
        """A set of its own with the same things."""
        return type(self)(self._items)


def _keys(of: Ordered) -> KeysView[Any]:
    """The things of a set, to be compared. Of a dict: a dapp's object would be given them."""
    return dict.keys(of._items)  # noqa: SLF001 - the same module


class OrderedSet(Ordered):
    """A set that can be changed."""

    __slots__ = ()

    def add(self, item: Any) -> None:
        """Put `item` in."""
        self._items[item] = None

    def discard(self, item: Any) -> None:
        """Take `item` out, if it is there."""
        self._items.pop(item, None)

    def remove(self, item: Any) -> None:
        """Take `item` out; KeyError when it is not there."""
        del self._items[item]

    def pop(self) -> Any:
        """Take the first thing out; KeyError when there is none."""
        for item in self._items:
            del self._items[item]
            return item
        raise KeyError("pop from an empty set")

    def clear(self) -> None:
        """Take everything out."""
        self._items.clear()

    def update(self, *others: Iterable[Any]) -> None:
        """Put everything of `others` in."""
        for other in others:
            self._items.update(dict.fromkeys(other))

    def intersection_update(self, *others: Iterable[Any]) -> None:
        """Keep what is in all of them."""
        self._items = dict.fromkeys(self.intersection(*others))

    def difference_update(self, *others: Iterable[Any]) -> None:
        """Take out what is in one of `others`."""
        self._items = dict.fromkeys(self.difference(*others))

    def symmetric_difference_update(self, other: Iterable[Any]) -> None:
        """Keep what is in one of both."""
        self._items = dict.fromkeys(self.symmetric_difference(other))

    def __iand__(self, other: Iterable[Any]) -> Self:
        self.intersection_update(other)
        return self

    def __ior__(self, other: Iterable[Any]) -> Self:
        self.update(other)
        return self

    def __isub__(self, other: Iterable[Any]) -> Self:
        self.difference_update(other)
        return self

    def __ixor__(self, other: Iterable[Any]) -> Self:
        self.symmetric_difference_update(other)
        return self


class OrderedFrozenSet(Ordered):
    """A set that cannot be changed, and can be in another."""

    __slots__ = ()

    def __hash__(self) -> int:  # type: ignore[override]  # as Python's own sets have it
        return hash(frozenset(self._items))


OrderedSet.__name__ = OrderedSet.__qualname__ = "set"
OrderedFrozenSet.__name__ = OrderedFrozenSet.__qualname__ = "frozenset"


class View:
    """Keys or items of a dict; sets made of it keep its order."""

    __slots__ = ("_view",)

    def __init__(self, view: Any) -> None:
        self._view = view

    def __iter__(self) -> Iterator[Any]:
        return iter(self._view)

    def __reversed__(self) -> Any:
        return reversed(self._view)

    def __len__(self) -> int:
        return len(self._view)

    def __contains__(self, item: object) -> bool:
        return item in self._view

    def __repr__(self) -> str:
        return repr(self._view)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, View | Ordered):
            return OrderedSet(self) == OrderedSet(other)
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __and__(self, other: Iterable[Any]) -> OrderedSet:
        return _made(OrderedSet(self).intersection, other)

    def __or__(self, other: Iterable[Any]) -> OrderedSet:
        return _made(OrderedSet(self).union, other)

    def __sub__(self, other: Iterable[Any]) -> OrderedSet:
        return _made(OrderedSet(self).difference, other)

    def __xor__(self, other: Iterable[Any]) -> OrderedSet:
        return _made(OrderedSet(self).symmetric_difference, other)

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__

    def __rsub__(self, other: Iterable[Any]) -> OrderedSet:
        return _made(OrderedSet(other).difference, self)

    def __le__(self, other: Iterable[Any]) -> bool:
        return OrderedSet(self) <= OrderedSet(other)

    def __ge__(self, other: Iterable[Any]) -> bool:
        return OrderedSet(self) >= OrderedSet(other)

    def isdisjoint(self, other: Iterable[Any]) -> bool:
        """Whether nothing is in both."""
        return OrderedSet(self).isdisjoint(other)


def _made(operation: Callable[[Iterable[Any]], Any], other: Iterable[Any]) -> OrderedSet:
    found: OrderedSet = operation(other)
    return found
