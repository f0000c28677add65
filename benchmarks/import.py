"""Import and search speed beside their floors, in one run.

    python benchmarks/import.py [--files 4000] [--rounds 5]

Import floor: read every file, SHA-256 it, insert its text into one FTS5 table of an encrypted
database with the node's settings, one commit; one thread, no blocks stored. Search floor: the bare
FTS5 statement for the row numbers and ranks of the best 20, on the node's own index through its own
readers; both have asked everything once before, and they take turns.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import shutil
import statistics
import sysconfig
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from measure import Row, note

from dms3.io.clock import SystemClock, SystemEntropy
from dms3.io.packs import Packs
from dms3.io.pool import Pool
from dms3.io.schema import MIGRATIONS
from dms3.io.store import Store
from dms3.node.finding import Question
from dms3.node.importing import Imported
from dms3.node.library import Library
from dms3.search.query import match_text, parse_query

WORDS = (
    "socket", "thread", "exception", "parse header", "unicode error", "compile regex", "timeout",
    "dictionary", "path join", "queue worker", "deprecated", "signature", "iterator", "checksum",
    "email message", "locale", "decimal context", "event loop", "subprocess", "zip archive",
)  # fmt: skip
HITS = 20
FILES, ROUNDS, SEARCH_ROUNDS = 4_000, 5, 3
IMPORT_GOAL, SEARCH_GOAL = 0.4, 3.0
SUFFIXES = (".py", ".txt", ".rst", ".html", ".md")


def copy_corpus(target: Path, files: int) -> int:
    """Text files of Python's standard library, then of the environment, below `target`; bytes."""
    paths = sysconfig.get_paths()
    sources = [Path(paths["stdlib"]), Path(paths["purelib"])]
    count = size = 0
    for number, source in enumerate(sources):
        for path in sorted(source.rglob("*")):
            inside = path.relative_to(source)
            if count == files:
                break
            if path.suffix not in SUFFIXES or "site-packages" in inside.parts:
                continue
            copy = target / str(number) / inside
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
            count += 1
            size += path.stat().st_size
    note(f"{count} files, {size / 1e6:.1f} MB from {', '.join(map(str, sources))}")
    return size


def import_floor(folder: Path, home: Path) -> float:
    """Seconds for the least work that makes the files searchable."""
    store = Store.open(home / "floor", b"f" * 32, ())
    store.transact(
        lambda db: db.execute(
            "CREATE VIRTUAL TABLE words USING fts5 (title, body, content='', "
            'contentless_delete=1, tokenize="unicode61 remove_diacritics 2")'
        )
    ).result()

    def work(db: object) -> None:
        for number, path in enumerate(sorted(folder.rglob("*"))):
            if path.is_file():
                data = path.read_bytes()
                hashlib.sha256(data).digest()
                text = data.decode("utf-8", "replace")
                db.execute(  # type: ignore[attr-defined]
                    "INSERT INTO words (rowid, title, body) VALUES (?, ?, ?)",
                    (number, path.name, text),
                )

    begun = time.perf_counter()
    store.transact(work).result()
    seconds = time.perf_counter() - begun
    store.close()
    return seconds


async def import_round(folder: Path, home: Path, size: int) -> tuple[float, float, Row]:
    """Seconds of the floor and of the import; the row of a search in what was imported."""
    floor = import_floor(folder, home)
    store = Store.open(home / "database", b"k" * 32, MIGRATIONS)
    packs = Packs(home / "packs", b"p" * 32, store, SystemEntropy())
    pool = Pool()
    library = Library(store, packs, pool, SystemClock(), SystemEntropy())
    await library.start()
    try:
        begun = time.perf_counter()
        done = [step async for step in library.add([str(folder)])][-1]
        seconds = time.perf_counter() - begun
        assert isinstance(done, Imported)
        again = time.perf_counter()
        unchanged = [step async for step in library.add([str(folder)])][-1]
        again = time.perf_counter() - again
        assert isinstance(unchanged, Imported)
        assert unchanged.documents == 0
        note(
            f"load {os.getloadavg()[0]:.1f}: floor {floor:.2f} s, {size / floor / 1e6:.1f} MB/s; "
            f"import {seconds:.2f} s, {done.documents / seconds:.0f} files/s, "
            f"{size / seconds / 1e6:.1f} MB/s, {floor / seconds:.2f} of the floor; again "
            f"{again:.2f} s, {unchanged.unchanged / again:.0f} files/s"
        )
        return floor, seconds, await measure_search(library, store)
    finally:
        await pool.close()
        packs.close()
        store.close()


@dataclass(frozen=True)
class Asked:
    """Milliseconds of one search: on the wall, and of the processor in all threads."""

    wall: float
    processor: float


async def measure_search(library: Library, store: Store) -> Row:
    """Tell of one-word, two-word and phrase queries beside the bare statement; the row of all."""
    found: dict[str, list[tuple[Asked, Asked]]] = {"one word": [], "two words": [], "phrase": []}
    phrases = [f'"{text}"' for text in WORDS if " " in text]
    first = [(await ask(library, text)).wall for text in WORDS]
    for text in (*WORDS, *phrases):  # both have asked everything before
        await ask(library, text)
        ask_bare(store, text)
    for _ in range(SEARCH_ROUNDS):
        for text in (*WORDS, *phrases):
            words = "two words" if " " in text else "one word"
            group = "phrase" if text in phrases else words
            found[group].append((await ask(library, text), ask_bare(store, text)))
    note(f"search  p50 of first questions {statistics.median(first):.2f} ms, nothing read before")
    for name, pairs in found.items():
        report_search(name, pairs)
    ours, bare = report_search("all", [pair for pairs in found.values() for pair in pairs])
    return Row(
        f"search p50, {HITS} hits with titles and snippets",
        ours,
        bare,
        "bare FTS5 statement",
        "ms",
        SEARCH_GOAL,
        "reading the rows and snippets of the hits; a thread for each question",
    )


async def ask(library: Library, text: str) -> Asked:
    """A search by the node: hits with titles, snippets, marks, and the total."""
    begun, worked = time.perf_counter(), time.process_time()
    await library.search(Question(text, limit=HITS))
    return _since(begun, worked)


def ask_bare(store: Store, text: str) -> Asked:
    """The bare FTS5 statement over the same containers, their rows merged by rank."""
    match = match_text(parse_query(text))
    with store.read() as db:
        begun, worked = time.perf_counter(), time.process_time()
        rows: list[tuple[float, int]] = []
        for (number,) in db.execute("SELECT id FROM container ORDER BY id").fetchall():
            rows += db.execute(
                f"SELECT rank, rowid FROM index_{number} WHERE index_{number} MATCH ? "
                f"ORDER BY rank LIMIT {HITS}",
                (match,),
            ).fetchall()
        rows = sorted(rows)[:HITS]
        return _since(begun, worked)


def _since(begun: float, worked: float) -> Asked:
    wall, processor = time.perf_counter() - begun, time.process_time() - worked
    return Asked(wall * 1000, processor * 1000)


def report_search(name: str, pairs: list[tuple[Asked, Asked]]) -> tuple[float, float]:
    """Print p50 of (ours, bare) and return that of the wall in milliseconds."""
    ours = statistics.median(one.wall for one, _ in pairs)
    bare = statistics.median(other.wall for _, other in pairs)
    busy = statistics.median(one.processor for one, _ in pairs)
    bare_busy = statistics.median(other.processor for _, other in pairs)
    note(
        f"search  {name:9}  p50 {ours:.2f} ms, bare FTS5 {bare:.2f} ms = {ours / bare:.2f} times "
        f"(goal 3); processor {busy:.2f} and {bare_busy:.2f} ms = {busy / bare_busy:.2f} times"
    )
    return ours, bare


def rows(files: int = FILES, rounds: int = ROUNDS) -> list[Row]:
    """Of the import the median round counts, of the search all of them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "corpus"
        size = copy_corpus(folder, files)
        found = []
        for number in range(rounds):
            home = Path(name) / f"home{number}"
            home.mkdir()
            found.append(asyncio.run(import_round(folder, home, size)))
    floor, seconds, _ = sorted(found, key=lambda one: one[0] / one[1])[rounds // 2]
    ratios = ", ".join(f"{floor / seconds:.2f}" for floor, seconds, _ in found)
    searches = sorted((search for _, _, search in found), key=lambda row: row.ratio or 0)
    return [
        Row(
            f"import of {size / 1e6:.0f} MB in {files} files",
            size / seconds / 1e6,
            size / floor / 1e6,
            "read, hash and index in one commit",
            "MB/s",
            IMPORT_GOAL,
            f"the writer thread; it also stores the blocks, found while it runs; rounds {ratios}",
        ),
        searches[rounds // 2],
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=FILES)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    for row in rows(options.files, options.rounds):
        print(row)


if __name__ == "__main__":
    main()
