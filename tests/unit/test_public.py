"""Machine "public" driven by hand: what a search asks of strangers, what it finds, and what spaces
that lie, are huge or have gone can do to it."""

import dataclasses
import hashlib

from dms3.core.cid import DAG_CBOR, RAW, Cid
from dms3.core.codec import encode
from dms3.core.errors import Failure, Retry
from dms3.core.ids import PeerId, RequestId
from dms3.core.limits import (
    DIRECTORY_MISS_US,
    DIRECTORY_OLD_US,
    DIRECTORY_SPACES_MAX,
    DIRECTORY_WAIT_US_MAX,
    MANIFEST_LIFE_US_MAX,
    PUBLIC_GETS_MAX,
    PUBLIC_OPENED_MAX,
    PUBLIC_SEARCH_US_MAX,
    PUBLIC_SEARCHES_MAX,
    PUBLIC_SPACE_BLOCKS_MAX,
)
from dms3.core.machine import Answered, Call, Called, Delete, Now, Persist, Reply, Withdrawn
from dms3.core.overlay import GetContent, Got
from dms3.crypto.signing import SigningKey
from dms3.search.condition import parse_conditions
from dms3.search.directory import Directory
from dms3.search.indexing import IndexBuilder, Indexed, Posting
from dms3.search.manifest import DIRECTORY, Manifest, decode_manifest, sign_manifest
from dms3.search.openindex import Facts, Part, Row, Rows, decode_root
from dms3.search.openrank import rank
from dms3.search.operations_public import PublicFound, SearchPublic
from dms3.search.public import Public
from dms3.search.query import parse_query

START = Now(1_000, 1_800_000_000_000_000)
OWN, PEER = (PeerId(bytes.fromhex("002408011220") + letter * 32) for letter in (b"O", b"P"))
KEY = SigningKey.of_seed(b"k" * 32)


class Fixed:
    def draw(self, count):
        return bytes(count)


class Web:
    """Public spaces somewhere: their blocks by CID, their manifests by directory key."""

    def __init__(self) -> None:
        self.blocks, self.manifests = {}, {key: [] for key in DIRECTORY}

    def publish(self, name, texts, **more: object):
        """A space whose documents have these texts; returns its manifest."""
        words = {}
        for number, text in enumerate(texts):
            for offset, word in enumerate(text.split()):
                words.setdefault(word, {}).setdefault(number, []).append(2 * offset + 1)
        builder = IndexBuilder(len(texts))
        for word in sorted(words):
            postings = [
                Posting(number, 0, len(places), places) for number, places in words[word].items()
            ]
            builder.add_term(word.encode(), postings)
        for text in texts:
            row = Row(Cid.of(RAW, text.encode()), f"about {name}", "", "", text)
            builder.add_document(Indexed(row, "text", len(text), START.wall_us))
        built, rest = builder.finish()
        self.blocks |= dict(rest)
        return self.announce(name, built, **more)

    def announce(self, name, built, key=KEY, **more: object):
        manifest = Manifest(
            v=1,
            space=hashlib.sha256(name.encode()).digest(),
            name=name,
            root=key.public,
            peer=PEER,
            index=built.root,
            documents=built.documents,
            size=1,
            terms=built.terms,
            kinds=built.kinds,
            filter=built.filter,
            created_us=START.wall_us,
            until_us=START.wall_us + MANIFEST_LIFE_US_MAX,
            withdrawn=False,
            signature=b"",
        )
        content = sign_manifest(key, dataclasses.replace(manifest, **more))
        self.manifests[content.key].append(content.value)
        return decode_manifest(content.value)


class Hand:
    def __init__(self, web) -> None:
        self.web, self.now = web, START
        self.tables, self.asked, self.queue, self.answers = {}, [], [], {}
        self.silent, self.page = False, 1_000
        self.count = 0
        self.restart()

    def restart(self):
        self.machine, self.queue = Public(OWN, Fixed()), []
        self.take(self.machine.on_start(self, self.now))

    def range(self, table, start, limit):
        rows = sorted(self.tables.get(table, {}).items())
        return [row for row in rows if row[0] >= start][:limit]

    def take(self, effects):
        for effect in effects:
            if isinstance(effect, Persist):
                self.tables.setdefault(effect.table, {})[effect.key] = effect.value
            elif isinstance(effect, Delete):
                self.tables.get(effect.table, {}).pop(effect.key, None)
            elif isinstance(effect, Call):
                self.queue.append(effect)
            elif isinstance(effect, Reply):
                self.answers[effect.request] = effect.body

    def run(self):
        while self.queue:
            call = self.queue.pop(0)
            body = self.local(call)
            if body is not None:
                self.take(self.machine.on_event(Answered(call.token, body), self.now))

    def local(self, call):
        asked = call.arguments
        if call.port == "published.rank":
            return rank(asked.spaces, asked.query, asked.kind, asked.conditions, asked.limit)
        assert call.port == "dht.get"
        self.asked.append(asked)
        if asked.type == "manifest":
            if self.silent:
                return None
            rows = sorted(
                (decode_manifest(value).slot, value) for value in self.web.manifests[asked.key]
            )
            rows = [row for row in rows if row[0] > asked.after]
            more = rows[self.page - 1][0] if len(rows) > self.page else None
            return Got(tuple(value for _, value in rows[: self.page]), more, 1, 8)
        block = self.web.blocks.get(Cid(asked.key))
        return block if isinstance(block, Failure) else Got((block,) if block else (), None, 1, 8)

    def begin(self, text, limit=20, kind=None, where=(), timeout_us=PUBLIC_SEARCH_US_MAX):
        self.count += 1
        asked = SearchPublic(parse_query(text), limit, kind, parse_conditions(where), timeout_us)
        event = Called("search", asked, RequestId(self.count))
        self.take(self.machine.on_event(event, self.now))
        return self.count

    def search(self, text, **more: object) -> PublicFound:
        request = self.begin(text, **more)
        self.run()
        return self.answers[request]

    def later(self, us):
        self.now = Now(self.now.mono_us + us, self.now.wall_us + us)
        self.take(self.machine.on_timer(self.now))


def texts(found):
    return [hit.beginning for hit in found.hits]


def test_spaces_are_searched_together_and_only_those_that_can_match_are_opened() -> None:
    web = Web()
    web.publish("canal", ["heron lock", "boat lock lock"])
    web.publish("birds", ["heron heron otter", "swan"])
    web.publish("cooking", ["bread salt"])
    hand = Hand(web)
    found = hand.search("heron")
    assert sorted(texts(found)) == ["heron heron otter", "heron lock"]
    assert (found.total, found.opened, found.skipped, found.missed) == (2, 2, 1, ())
    assert {hit.name for hit in found.hits} == {"canal", "birds"}
    assert [hit.score for hit in found.hits] == sorted(
        (hit.score for hit in found.hits), reverse=True
    )
    assert texts(hand.search("lock -heron")) == ["boat lock lock"]
    assert texts(hand.search('"heron otter"')) == ["heron heron otter"]
    assert texts(hand.search("bre*")) == ["bread salt"]
    assert hand.search("pelican").skipped == 3


def test_no_word_of_a_query_leaves_the_node() -> None:
    web = Web()
    for number in range(20):
        web.publish(f"space {number}", [f"heron marsworth{number} tringford", "boat"])
    hand = Hand(web)
    query = 'heron "marsworth7 tringford" OR nowhere bo* -swan'
    assert hand.search(query).opened > 0
    marks = [b"heron", b"marsworth", b"tringford", b"nowhere", b"swan", b"bo*"]
    marks += [hashlib.sha256(mark).digest() for mark in marks]
    for asked in hand.asked:
        assert isinstance(asked, GetContent)
        said = repr(asked).encode() + asked.key + asked.after
        assert not any(mark in said for mark in marks)
        assert asked.key in DIRECTORY or Cid(asked.key) in web.blocks
    before = [asked.key for asked in hand.asked if asked.type == "manifest"]
    other = Hand(web)
    other.search("bread")
    assert before == [asked.key for asked in other.asked if asked.type == "manifest"]


def test_scores_do_not_depend_on_how_documents_lie_in_spaces() -> None:
    rows = [f"heron {'lock ' * (number % 5)}boat" for number in range(30)] + ["swan"] * 70
    together, apart = Web(), Web()
    together.publish("all", rows)
    for start in range(4):
        apart.publish(f"part {start}", rows[start::4])
    one, many = Hand(together).search("heron lock"), Hand(apart).search("heron lock")
    assert one.total == many.total
    assert [hit.score for hit in one.hits] == [hit.score for hit in many.hits]


def test_manifests_are_kept_brought_again_when_old_and_read_on() -> None:
    web = Web()
    for number in range(7):
        web.publish(f"space {number}", ["heron"])
    hand = Hand(web)
    hand.page = 1
    assert hand.search("heron").opened == 7
    gets = sum(asked.type == "manifest" for asked in hand.asked)
    assert gets == 16 + 7 - len({m for m in web.manifests if web.manifests[m]})
    web.publish("late", ["heron"])
    assert hand.search("heron").opened == 7, "not older than thirty seconds"
    hand.later(DIRECTORY_OLD_US + 1)
    assert hand.search("heron").opened == 8
    hand.restart()
    hand.silent = True
    request = hand.begin("heron")
    hand.run()
    assert request not in hand.answers
    hand.later(DIRECTORY_WAIT_US_MAX)
    hand.run()
    found = hand.answers[request]
    assert found.opened == 8
    assert "16 of 16 parts" in found.missed[0].message


def test_what_no_known_space_can_have_is_looked_for_again_soon() -> None:
    web = Web()
    web.publish("old", ["heron"])
    hand = Hand(web)
    assert hand.search("otter").opened == 0
    web.publish("new", ["otter"])
    assert hand.search("otter").opened == 0, "brought this very moment"
    hand.later(DIRECTORY_MISS_US + 1)
    asked = len(hand.asked)
    assert hand.search("heron").opened == 1
    assert not any(get.type == "manifest" for get in hand.asked[asked:])
    assert hand.search("otter").opened == 1


def test_a_withdrawn_expired_or_own_space_is_not_opened() -> None:
    web = Web()
    web.publish("gone", ["heron"])
    web.publish("gone", ["heron"], created_us=START.wall_us + 1, withdrawn=True)
    web.publish("mine", ["heron"], peer=OWN)
    web.publish("short", ["heron"], until_us=START.wall_us + DIRECTORY_OLD_US)
    hand = Hand(web)
    assert hand.search("heron").opened == 1
    web.manifests = {key: [] for key in DIRECTORY}
    hand.later(2 * DIRECTORY_OLD_US)
    assert hand.search("heron").opened == 0
    assert len(hand.tables["manifests"]) == 2, "what has expired is forgotten"


def test_kinds_and_conditions_are_looked_at_before_anything_is_opened() -> None:
    web = Web()
    web.publish("canal", ["heron", "heron and otter"])
    hand = Hand(web)
    assert hand.search("heron", kind="code").skipped == 1
    assert hand.search("heron", where=("name:*.py",)).skipped == 1
    assert texts(hand.search("heron", where=("bytes:..6",))) == ["heron"]


def test_blocks_are_asked_for_once_and_some_at_a_time() -> None:
    web = Web()
    for number in range(PUBLIC_OPENED_MAX):
        web.publish(f"space {number}", [f"heron n{number}"])
    hand = Hand(web)
    hand.begin("heron")
    while any(call.arguments.type == "manifest" for call in hand.queue):
        call = hand.queue.pop(0)
        hand.take(hand.machine.on_event(Answered(call.token, hand.local(call)), hand.now))
    assert len(hand.queue) == PUBLIC_GETS_MAX
    hand.begin("heron")
    assert len(hand.queue) == PUBLIC_GETS_MAX
    hand.run()
    assert [len(found.hits) for found in hand.answers.values()] == [20, 20]
    keys = [asked.key for asked in hand.asked if asked.type == "block"]
    assert len(keys) == len(set(keys))
    before = len(hand.asked)
    assert hand.search("heron").total == PUBLIC_OPENED_MAX
    assert len(hand.asked) == before, "what was opened a moment ago is kept"


def test_too_many_spaces_that_match_are_named_not_opened() -> None:
    web = Web()
    for number in range(PUBLIC_OPENED_MAX + 5):
        web.publish(f"space {number}", [f"heron n{number}"])
    found = Hand(web).search("heron")
    assert found.opened == PUBLIC_OPENED_MAX
    assert "5 further public spaces" in found.missed[0].message


# spaces that lie


def test_a_faulty_index_is_named_and_the_rest_answers() -> None:
    web = Web()
    web.publish("honest", ["heron"])
    for name in ("garbage", "absent", "huge", "claims", "cycle", "rows", "refused"):
        manifest = web.publish(name, [f"heron {name}"])
        root = decode_root(web.blocks[manifest.index])
        if name == "garbage":
            web.blocks[manifest.index] = b"garbage"
        elif name == "absent":
            del web.blocks[manifest.index]
        elif name == "huge":
            web.blocks[manifest.index] = bytes(1 << 20)
        elif name == "refused":
            web.blocks[manifest.index] = Failure("timed_out", "no answer", Retry.LATER)
        elif name == "claims":  # a million documents would need their facts
            replaced = dataclasses.replace(root, documents=100_000)
            web.blocks[manifest.index] = encode(replaced)
        elif name == "cycle":  # parts that are the root itself
            part = Part(b"", manifest.index)
            web.blocks[manifest.index] = encode(dataclasses.replace(root, words=(part,)))
        else:
            (part,) = root.rows
            web.blocks[part.cid] = encode(Rows(1, 0, ()))
    found = Hand(web).search("heron")
    assert texts(found) == ["heron"]
    named = {one.name: one.code for one in found.missed}
    assert named == {
        "garbage": "content_invalid",
        "absent": "content_unavailable",
        "huge": "content_invalid",
        "claims": "content_invalid",
        "cycle": "content_invalid",
        "rows": "content_invalid",
        "refused": "timed_out",
    }
    assert found.opened == 1


def test_an_index_in_too_many_pieces_is_not_fetched() -> None:
    web = Web()
    web.publish("honest", ["heron"])
    manifest = web.publish("pieces", ["heron otter"])
    root = decode_root(web.blocks[manifest.index])
    parts = []
    for number in range(PUBLIC_SPACE_BLOCKS_MAX + 1):
        block = encode(Facts(1, number, b"\1\0\1\1"))
        cid = Cid.of(DAG_CBOR, block)
        web.blocks[cid] = block
        parts.append(Part(number.to_bytes(8, "big"), cid))
    web.blocks[manifest.index] = encode(dataclasses.replace(root, facts=tuple(parts)))
    hand = Hand(web)
    found = hand.search("heron")
    assert [one.code for one in found.missed] == ["limit_reached"]
    assert len([asked for asked in hand.asked if asked.type == "block"]) < 10
    assert texts(found) == ["heron"]


def test_counts_in_a_manifest_change_no_score() -> None:
    web, lying = Web(), Web()
    for some, claim in ((web, 2), (lying, 100_000)):
        some.publish("one", ["heron", "otter boat"], documents=claim, terms=claim)
        some.publish("two", ["heron heron", "swan"])
    honest, found = Hand(web).search("heron"), Hand(lying).search("heron")
    assert [hit.score for hit in honest.hits] == [hit.score for hit in found.hits]


def test_late_spaces_are_named_and_the_search_ends_in_time() -> None:
    web = Web()
    web.publish("quick", ["heron"])
    slow = web.publish("slow", ["heron otter"])
    hand = Hand(web)
    request = hand.begin("heron")
    held = hand.local

    def but_slow(call):
        is_slow = call.port == "dht.get" and call.arguments.key == slow.index.binary
        return None if is_slow else held(call)

    hand.local = but_slow
    hand.run()
    assert request not in hand.answers
    hand.later(PUBLIC_SEARCH_US_MAX)
    hand.run()
    found = hand.answers[request]
    assert texts(found) == ["heron"]
    assert [(one.name, one.code) for one in found.missed] == [("slow", "timed_out")]
    assert hand.machine.next_timer() is None


def test_the_directory_is_bounded_and_what_comes_later_drives_nothing_out() -> None:
    directory = Directory(OWN)
    web = Web()
    manifest = web.publish("first", ["heron"])
    (first,) = [value for values in web.manifests.values() for value in values]
    directory.take([first])
    held = dataclasses.replace(manifest, signature=b"s" * 64)
    for number in range(DIRECTORY_SPACES_MAX + 10):
        other = dataclasses.replace(held, space=hashlib.sha256(b"%d" % number).digest())
        directory.take([encode(other)])
    assert len(directory) == DIRECTORY_SPACES_MAX
    newer = dataclasses.replace(held, created_us=held.created_us + 1)
    assert len(directory.take([encode(newer)])) == 1
    assert directory.take([encode(newer)]) == []
    assert directory.take([b"garbage"]) == []
    chosen = directory.choose(parse_query("heron"), None, (), b"", START.wall_us)
    assert newer in chosen.manifests


def test_the_order_of_spaces_is_drawn_by_each_node_anew() -> None:
    directory = Directory(OWN)
    web = Web()
    for number in range(20):
        web.publish(f"space {number}", ["heron"])
    directory.take([value for values in web.manifests.values() for value in values])
    query = parse_query("heron")
    orders = [
        [manifest.name for manifest in directory.choose(query, None, (), salt, 0).manifests]
        for salt in (b"a", b"b", b"a")
    ]
    assert orders[0] == orders[2] != orders[1]


def test_searches_are_bounded_checked_and_can_be_left() -> None:
    hand = Hand(Web())
    hand.silent = True
    for _ in range(PUBLIC_SEARCHES_MAX):
        hand.begin("heron")
    assert hand.answers == {}
    assert hand.answers.get(hand.begin("heron"), None).code == "limit_reached"
    hand.take(hand.machine.on_event(Withdrawn(RequestId(1)), hand.now))
    assert hand.begin("heron") not in hand.answers
    for timeout_us in (0, PUBLIC_SEARCH_US_MAX + 1):
        hand.take(hand.machine.on_event(Withdrawn(RequestId(2)), hand.now))
        assert hand.answers[hand.begin("heron", timeout_us=timeout_us)].code == "argument_invalid"
    event = Called("nonsense", None, RequestId(500))
    hand.take(hand.machine.on_event(event, hand.now))
    assert hand.answers[500].code == "method_unknown"
