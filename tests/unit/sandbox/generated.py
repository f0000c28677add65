"""Rules made by chance, half of them up to no good; each says all it knows as its detail."""

import random
from collections.abc import Iterator

NAMES = ("a", "b", "c", "d")
WORDS = (
    "'pear'",
    "'fig'",
    "'apple'",
    "'kiwi'",
    "'plum'",
    "'date'",
    "note['text']",
    "'\\xe9\\u4e2d'",
)
FRUIT = "['pear', 'fig', 'apple', 'kiwi', 'plum', 'date', 'lime', 'nut']"
TRICKS = (
    "while True: pass",
    "x = []\nwhile True: x.append(bytes(500_000))",
    (
        "def deep(n):\n    try:\n        return deep(n + 1)\n    except Exception:\n"
        "        return n\n"
        "{name} = deep(0)"
    ),
    "{name} = [repr(lambda: 0), f'{{(x for x in [])}}', str(iter([])), ascii(object())]",
    f"{{name}} = ''.join(set({FRUIT}))",
    f"{{name}} = list(dict.fromkeys({FRUIT}).keys() & set({FRUIT}[{{number}} % 8:]))",
    f"{{name}} = [x for x in frozenset({FRUIT}) ^ {{{{'fig', 'pear', {{number}}}}}}]",
    "{name} = sorted([(hash_of(x), x) for x in ('a', 'b')])",
    "try:\n    must_get_entry('h{number}')\nexcept:\n    {name} = 1",
    "{name} = [getattr(note, n, None) for n in ('text', 'copy') if hasattr(note, n)]",
    "try:\n    {{}}[lambda: 0]\nexcept KeyError as error:\n    {name} = str(error)",
    "try:\n    10 ** 10 ** 8\nexcept ArithmeticError:\n    {name} = 1",
    "try:\n    1 / 0\nexcept Exception as error:\n    {name} = f'{{error!r}}'\nfinally:\n    a = 3",
    "{name} = re.sub('[aeiou]', lambda m: m.group().upper(), 'pears and figs' * {number})",
    "{name} = bool(re.match('(a|aa)+$', 'a' * {number} + 'b'))",
    "{name} = json.dumps({{'b': [1, None], 'a': {number} / 7}}, sort_keys=True)",
    "{name} = json.loads('[' * {number} + ']' * {number})",
    "class K:\n    x = {number}\n    def __repr__(self): return f'K{{self.x}}'\n{name} = [K(), K]",
    "class E(enum.Enum):\n    A = {number}\n    B = 'b'\n{name} = [E.A, E('b'), list(E)]",
    "@dataclasses.dataclass\nclass P:\n    x: int\n    y: str = 'y'\n{name} = P({number})",
    "{name} = hashlib.sha256(str({number}).encode()).hexdigest()",
    "{name} = collections.Counter('mississippi' * {number}).most_common(3)",
    (
        "def g():\n    for i in range({number}):\n        yield i * i\n"
        "{name} = [sum(g()), max(g(), default=0)]"
    ),
    "{name} = [math.sin({number}), math.sqrt({number}), float('nan'), -0.0, 1e300 * 1e10]",
    "{name} = struct.pack('<dI', {number} / 3, {number})",
    "{name} = datetime.datetime.fromtimestamp({number}, datetime.UTC).isoformat()",
    "{name} = unicodedata.normalize('NFKD', '\\ufb01\\xe9' * {number})",
    "{name} = functools.reduce(lambda x, y: x * 31 + y, range({number}), 7)",
    "{name} = list(itertools.islice(itertools.permutations('abcd'), {number}))",
    "global leaked\nleaked = [1]\n{name} = leaked",
)


def bodies(seed: int, count: int) -> Iterator[str]:
    """The bodies of `count` rules; equal seeds give equal rules."""
    for number in range(count):
        yield _body(random.Random(f"{seed} {number}"))


def _body(draw: random.Random) -> str:
    lines = [f"{name} = {draw.randrange(100)}" for name in NAMES]
    for _ in range(draw.randrange(2, 7)):
        lines += _statement(draw, 2).splitlines()
    ends = (
        "return f'{a} {b} {c} {d}'",
        "return f'{[a, b, c, d]}'[:400]",
        "return len(repr([a, b, c, d])) % 2 == 0",
        "return True",
    )
    return "\n".join([*lines, draw.choice(ends)])


def _statement(draw: random.Random, depth: int) -> str:
    name = draw.choice(NAMES)
    kind = draw.randrange(8 if depth else 4)
    if kind < 2:
        return f"{name} = {_value(draw, 3)}"
    if kind < 4:
        trick = draw.choice(TRICKS)
        return trick.format(name=name, number=draw.randrange(1, 30))
    inner = _indented(_statement(draw, depth - 1))
    if kind == 4:
        return f"if {_value(draw, 2)}:\n{inner}\nelse:\n    {name} = {_value(draw, 1)}"
    if kind == 5:
        return f"for {name} in range({draw.randrange(6)}):\n{inner}"
    if kind == 6:
        return f"try:\n{inner}\nexcept Exception as error:\n    {name} = str(error)"
    return f"def f{depth}(x):\n{inner}\n    return [x, {_value(draw, 1)}]\n{name} = f{depth}(1)"


def _value(draw: random.Random, depth: int) -> str:
    kind = draw.randrange(9 if depth else 3)
    if kind == 0:
        return str(draw.randrange(-50, 1_000))
    if kind == 1:
        return draw.choice(WORDS)
    if kind == 2:
        return f"str({draw.choice(NAMES)})" if depth else draw.choice(("None", "True", "3.5"))
    one, two = (_value(draw, depth - 1) for _ in range(2))
    word, name = draw.choice(WORDS), draw.choice(NAMES)
    composed = (
        *(f"[{one}, {two}]", f"(str({one}) + str({two}))", f"({one} if {two} else {word})"),
        *(f"list({{str({one}), str({two}), {word}}})", f"sorted(str({one}))"),
        f"f'{{{name}!r:>{draw.randrange(1, 9)}}}|'",
    )
    return composed[kind - 3]


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
