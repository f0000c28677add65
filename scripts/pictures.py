"""Takes the pictures of docs/pictures from a real network of twelve nodes with real files.

`make pictures`. Nothing in them is made up: the documents are those of this repository, the nodes
are processes on this machine. Needs a Chromium and the development environment.
"""

import asyncio
import shutil
import struct
import sys
import tempfile
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, async_playwright, expect

from dms3.cli.dev import DevNetwork, DevNode, dev_network
from dms3.sdk import Client

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "pictures"
BYTES_MAX = 150_000
DESK, PHONE = (1440, 900), (390, 844)
NODES = 12  # so many that not everybody is near
COLOURS_MAX = 256
PNG = b"\x89PNG\r\n\x1a\n"


async def fill(network: DevNetwork) -> str:
    """Two people with documents, who share; alice knows some of the others.

    Returns where the journey of what alice wrote is shown.
    """
    nodes = network.nodes  # in the order in which they were ready
    cards = {name: (await ask(node, "contact", "card"))["card"] for name, node in nodes.items()}
    alice, bob, carol, frank = (nodes[name] for name in ("alice", "bob", "carol", "frank"))
    for name in ("bob", "carol", "dave", "erin", "grace"):
        await ask(alice, "contact", "add", card=cards[name])
    await ask(bob, "contact", "add", card=cards["alice"])
    await ask(alice, "id", "confirm")
    await ask(alice, "store", "add", paths=[str(ROOT / "docs")], space="handbook")
    await ask(alice, "store", "add", paths=[str(ROOT / "src" / "dms3" / "core")], space="source")
    await ask(alice, "store", "add", paths=[str(ROOT / "README.md")], space="documents")
    await ask(alice, "store", "share", space="handbook", **{"with": "bob", "until": "2027-03-01"})
    await ask(bob, "store", "add", paths=[str(ROOT / "examples")], space="examples")
    await ask(bob, "store", "share", space="examples", **{"with": "alice"})
    await ask(alice, "store", "publish", space="handbook")
    for node in (carol, frank):
        await ask(node, "contact", "add", card=cards["alice"])
    await said(carol, "alice", "Who has the key of the boat house?")
    # A stranger is told nothing, so that nothing can be waited for.
    hello = "Hello! Dave told me that you have the tide tables."
    await ask(frank, "message", "send", name="alice", text=hello)
    await talk(alice, bob)
    return await book([nodes[name] for name in ("alice", "bob", "carol", "dave", "erin")])


async def book(nodes: list[DevNode]) -> str:
    """The same guestbook at `nodes`, signed by some; where the journey of the first's line is."""
    for node in nodes:
        await ask(node, "dapp", "install", what="guestbook")
    alice, bob, *_ = nodes
    await sign(bob, "Bob", "The weir is open until Friday.")
    await sign(alice, "Alice", "High water at six; the boat lies at the long pier.")
    chain: Any = await ask(alice, "chain", "show", dapp="guestbook")
    action = chain["records"][-2]["action"]["hash"]
    async with asyncio.timeout(120):
        while True:
            journey: Any = await ask(alice, "entry", "journey", hash=action, dapp="guestbook")
            if journey["published"]["complete"]:
                return f"/apps/guestbook/{action}"
            await asyncio.sleep(0.5)


async def sign(node: DevNode, name: str, text: str) -> None:
    """A line in the guestbook."""
    given = {"name": name, "text": text}
    await ask(node, "dapp", "call", dapp="guestbook", function="sign", arguments=given)


async def talk(alice: DevNode, bob: DevNode) -> None:
    """A conversation, with all that one can have in it; bob has read the last message."""
    asked = await said(
        bob, "alice", "Where does your node lie on the ring? Mine is far from Carol's."
    )
    picture = str(PICTURES / "network.png")
    answer = await said(alice, "bob", "See for yourself:", reply=asked, attach=[picture])
    await ask(bob, "message", "react", hash=answer, text="thanks")
    promise = await said(alice, "bob", "The handbok is yours to read, too.")
    await ask(alice, "message", "edit", hash=promise, text="The handbook is yours to read, too.")
    await said(bob, "alice", "I found it by searching. On Friday I bring the charts.")
    await ask(alice, "message", "opened", name="bob")
    await ask(alice, "message", "verified", name="bob")
    last = await said(alice, "bob", "Good. At the weir, then.")
    await ask(bob, "message", "opened", name="alice")
    await until(alice, "bob", last, "read")


async def said(node: DevNode, name: str, text: str, **more: object) -> str:
    """The hash of a message of `node` that has arrived."""
    sent = await ask(node, "message", "send", name=name, text=text, **more)
    await until(node, name, str(sent["hash"]), "delivered", "read")
    return str(sent["hash"])


async def until(node: DevNode, name: str, wanted: str, *states: str) -> None:
    """Wait until a message of `node` to `name` is in one of `states`."""
    async with asyncio.timeout(60):
        while True:
            found = await ask(node, "message", "conversation", name=name)
            rows: Any = found["messages"]
            if any(row["hash"] == wanted and row["state"] in states for row in rows):
                return
            await asyncio.sleep(0.2)


async def ask(node: DevNode, noun: str, verb: str, **arguments: object) -> dict[str, object]:
    """The result of a command of `node`."""
    async with Client(home=Path(node.home), api=node.api) as client:
        return dict(await client.call(noun, verb, **arguments))


async def take(browser: Browser, node: DevNode, journey: str) -> None:
    """All pictures, from the page of `node`; `journey`: where that of an entry is shown."""
    views = (
        ("home", "/", DESK, "light"),
        ("documents", "/documents", DESK, "light"),
        ("search", "/search?q=grant+certificate&scope=local", DESK, "light"),
        ("messages", "/messages?with=bob", DESK, "light"),
        ("messages-dark", "/messages?with=bob", DESK, "dark"),
        ("messages-small", "/messages?with=bob", PHONE, "light"),
        ("messages-small-dark", "/messages?with=bob", PHONE, "dark"),
        ("app", "/apps/guestbook", DESK, "light"),
        ("journey", journey, DESK, "light"),
        ("network", "/network", DESK, "light"),
        ("network-dark", "/network", DESK, "dark"),
        ("search-small", "/search?q=grant+certificate&scope=local", PHONE, "light"),
    )
    for name, path, (width, height), theme in views:
        async with Client(home=Path(node.home), api=node.api) as client:
            link = await client.login_url()
        context = await browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=theme,
            reduced_motion="reduce",
            locale="en-GB",
        )
        page = await context.new_page()
        await page.goto(link)
        answer = await page.goto(f"http://{node.api}{path}")
        assert answer is not None
        assert answer.ok, f"{path} answered {answer.status}"
        await settled(page)
        picture = packed(await page.screenshot())
        await context.close()
        (PICTURES / f"{name}.png").write_bytes(picture)
        print(f"{name}.png: {len(picture):,} bytes")
        if len(picture) > BYTES_MAX:
            sys.exit(f"{name}.png has more than {BYTES_MAX:,} bytes")


def packed(png: bytes) -> bytes:
    """The same picture with at most 256 colours, a third of the bytes (PNG 1.2, sections 3, 4, 6).

    `png`: as Chromium writes it, 8 bits a channel, RGB or RGBA, not interlaced.
    """
    place, data, header = len(PNG), b"", b""
    while place < len(png):
        (length,) = struct.unpack_from(">I", png, place)
        kind, body = png[place + 4 : place + 8], png[place + 8 : place + 8 + length]
        place += length + 12
        data += body if kind == b"IDAT" else b""
        header = body if kind == b"IHDR" else header
    width, height, _, colour = struct.unpack_from(">IIBB", header)
    rows = unfiltered(zlib.decompress(data), width, 4 if colour == 6 else 3)
    pixels = [row[at : at + 3] for row in rows for at in range(0, len(row), len(row) // width)]
    seen = Counter(pixels)
    palette = [one for one, _ in seen.most_common(COLOURS_MAX)]
    index = {one: nearest(one, palette) for one in seen}
    lines = bytearray()
    for start in range(0, len(pixels), width):
        lines.append(0)
        lines += bytes(index[one] for one in pixels[start : start + width])
    head = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    parts = ((b"IHDR", head), (b"PLTE", b"".join(palette)), (b"IDAT", zlib.compress(lines, 9)))
    return PNG + b"".join(chunk(kind, body) for kind, body in (*parts, (b"IEND", b"")))


def nearest(colour: bytes, palette: list[bytes]) -> int:
    """The place in `palette` of the colour most like `colour`."""
    red, green, blue = colour
    return min(
        range(len(palette)),
        key=lambda at: (
            (palette[at][0] - red) ** 2
            + (palette[at][1] - green) ** 2
            + (palette[at][2] - blue) ** 2
        ),
    )


def unfiltered(data: bytes, width: int, channels: int) -> list[bytes]:
    """The rows of pixels of a PNG's data, each with its filter undone."""
    stride = width * channels
    before, rows = bytearray(stride), []
    for start in range(0, len(data), stride + 1):
        kind, row = data[start], bytearray(data[start + 1 : start + 1 + stride])
        for at in range(stride):
            left = row[at - channels] if at >= channels else 0
            up, corner = before[at], before[at - channels] if at >= channels else 0
            row[at] = (
                row[at] + (0, left, up, (left + up) // 2, paeth(left, up, corner))[kind]
            ) & 255
        rows.append(bytes(row))
        before = row
    return rows


def paeth(left: int, up: int, corner: int) -> int:
    """The neighbour nearest to left + up - corner."""
    guess = left + up - corner
    return min((left, up, corner), key=lambda one: abs(guess - one))


def chunk(kind: bytes, body: bytes) -> bytes:
    """One chunk of a PNG with its length and checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


async def settled(page: Page) -> None:
    """Wait until what comes after the first answer is there."""
    rate = page.locator("[data-rate=in]")
    if await rate.count():
        await expect(rate).to_contain_text("/s")


async def main() -> None:
    """Start the network, fill it, take the pictures."""
    chromium = shutil.which("chromium") or sys.exit("This needs Chromium: apt-get install chromium")
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        async with dev_network(Path(folder), NODES) as network, async_playwright() as playwright:
            journey = await fill(network)
            browser = await playwright.chromium.launch(
                executable_path=chromium, args=["--no-sandbox", "--disable-dev-shm-usage"]
            )
            await take(browser, network.nodes["alice"], journey)
            await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
