"""What rules declare, which of them are asked, and what they are told."""

import dataclasses

import pytest

from dms3.chain.dapp_data import DOMAIN
from dms3.chain.entry import make_entry
from dms3.chain.judging import shown_to_rules
from dms3.chain.sandboxing import Judge, Loaded
from dms3.chain.values import encode_values
from dms3.core.errors import Dms3Error
from dms3.core.multibase import encode_base32
from dms3.core.verdict import Abandoned, Invalid, Unresolved, Valid
from dms3.crypto.signing import SigningKey
from dms3.io.sandbox_engine import SandboxEngine
from unit.chain.chain_kit import DNA, Chain
from unit.sandbox.kit import ACTION, AGENT, HASH, judged, program, ruled, verdict

RULES = """
    from dapp import rule, must_get_entry, must_get_action

    @rule("note")
    def text_is_short(note, action):
        \"\"\"A note has 1 to 5 characters.

        Nobody reads more.
        \"\"\"
        return 0 < len(note["text"]) <= 5

    @rule(link="reply")
    def replies_are_to_notes(link, action):
        target = must_get_action(link["base"])
        return target["entry_kind"] == "note"

    @rule(delete="note")
    def only_the_author_deletes(deleted, action):
        return deleted["author"] == action["author"]

    @rule(unlink="reply")
    def replies_stay(link, action):
        return f"a {link['link_kind']} stays"

    @rule()
    def not_on_mondays(entry, action):
        return action["time"] % 7 != 1
    """


def say(engine, entry=None, known=(), **action: object):
    return judged(engine, program(RULES), entry, known, **action).verdict


def test_a_program_declares_its_rules_with_their_lines(engine):
    assert engine.load(program(RULES)) == Loaded(
        (
            ("text_is_short", 5, "A note has 1 to 5 characters."),
            ("replies_are_to_notes", 13, ""),
            ("only_the_author_deletes", 18, ""),
            ("replies_stay", 22, ""),
            ("not_on_mondays", 26, ""),
        )
    )


def test_a_rule_about_entries_is_asked_of_new_changed_and_countersigned_ones(engine):
    broken = Invalid("text_is_short", "A note has 1 to 5 characters.", 5)
    for kind in ("create", "update", "countersign"):
        assert say(engine, {"text": "short"}, kind=kind) == Valid()
        assert say(engine, {"text": "longer"}, kind=kind) == broken
    assert say(engine, {"text": "longer"}, entry_kind="other") == Valid()
    assert say(engine, {"text": "longer"}, kind="agent") == Valid()


def test_a_private_entry_is_judged_where_it_can_be_read(engine):
    for content, found in (({"text": "longer"}, Invalid), ({"text": "a"}, Valid), (None, Valid)):
        judge = Judge(program(RULES), ACTION | {"private": True}, content)
        assert isinstance(engine.judge(judge).verdict, found)
    assert isinstance(engine.judge(Judge(program(RULES), ACTION, None)).verdict, Invalid)


def test_a_rule_about_everything_is_asked_of_everything(engine):
    for kind in ("create", "link", "agent", "dna"):
        assert say(engine, {"text": "a"}, kind=kind, entry_kind="x", time=8) == Invalid(
            "not_on_mondays", "", 26
        )


def test_a_rule_about_links_is_given_the_link(engine):
    link = {"kind": "link", "link_kind": "reply", "base": "b", "to": "t"}
    assert say(engine, **link) == Unresolved((b"action:b",))
    known = [("action:b", {"entry_kind": "note"})]
    assert say(engine, known=known, **link) == Valid()
    known = [("action:b", {"entry_kind": "x"})]
    assert say(engine, known=known, **link) == Invalid("replies_are_to_notes", "", 13)
    assert say(engine, **(link | {"link_kind": "other"})) == Valid()


def test_a_rule_about_deletions_is_given_what_is_deleted(engine):
    gone = {"kind": "delete", "target": "t", "entry_kind": None}
    assert say(engine, **gone) == Unresolved((b"action:t",))
    mine = [("action:t", {"entry_kind": "note", "author": AGENT})]
    foreign = [("action:t", {"entry_kind": "note", "author": "b" * 52})]
    other = [("action:t", {"entry_kind": "x", "author": "b" * 52})]
    assert say(engine, known=mine, **gone) == Valid()
    assert say(engine, known=foreign, **gone) == Invalid("only_the_author_deletes", "", 18)
    assert say(engine, known=other, **gone) == Valid()
    assert say(engine, known=[("action:t", None)], **gone) == Valid()
    unlinked = {"kind": "unlink", "target": "t"}
    known = [("action:t", {"link_kind": "reply"})]
    assert say(engine, known=known, **unlinked) == Invalid("replies_stay", "a reply stays", 22)


@pytest.mark.parametrize(
    ("body", "holds"),
    [
        *(("return True", True), ("return None", True), ("pass", True), ("return 1", True)),
        *(("return False", False), ("return 0", False), ("return []", False)),
        *(("return re.match('h', note['text'])", True), ("return bool(re.match('x', 'h'))", False)),
    ],
)
def test_a_rule_holds_or_is_broken_by_what_it_returns(engine, body, holds):
    assert verdict(engine, body) == (Valid() if holds else Invalid("r", "It is so.", 7))


def test_a_text_or_an_error_says_why(engine):
    assert verdict(engine, "return 'too long'") == Invalid("r", "too long", 7)
    assert verdict(engine, "return ''") == Invalid("r", "It is so.", 7)
    found = verdict(engine, "x = 1\nreturn note['absent']")
    assert found == Invalid("r", "KeyError: 'absent'", 10)
    long = verdict(engine, "return 'x' * 10_000")
    assert len(long.detail) == 512


def test_a_rule_may_take_the_entry_alone(engine):
    rules = program("from dapp import rule\n@rule('note')\ndef r(note): return note['text'] == 'a'")
    assert judged(engine, rules, {"text": "a"}).verdict == Valid()
    assert isinstance(judged(engine, rules, {"text": "b"}).verdict, Invalid)


def test_rules_read_what_is_known_and_nothing_else(engine):
    asked = {
        "must_get_entry('h')": "entry:h",
        "must_get_action('h')": "action:h",
        "must_get_valid_record('h')": "record:h",
        "must_get_agent_activity('a', 'h')": "activity:a:h",
    }
    for call, question in asked.items():
        rules = ruled(f"return {call} == 5")
        assert judged(engine, rules).verdict == Unresolved((question.encode(),))
        assert judged(engine, rules, known=[(question, 5)]).verdict == Valid()
        assert isinstance(judged(engine, rules, known=[(question, None)]).verdict, Invalid)


def test_what_is_asked_for_has_a_name(engine):
    for call in ("must_get_entry(lambda: 0)", "must_get_action(None)", "must_get_valid_record(1)"):
        assert "a hash or agent is a text" in verdict(engine, call).detail


def test_properties_hashes_and_signatures(engine):
    key = SigningKey.of_seed(bytes(32))
    data = {"amount": 3}
    cid, encoded = make_entry(data)
    signature = encode_base32(key.sign(DOMAIN, encoded))
    author = encode_base32(key.public)
    body = f"""
        assert property("names") == ["a"] and property("absent", 4) == 4
        assert makeHash({{"amount": 3}}) == "{cid}"
        assert verifySignature("{signature}", {{"amount": 3}}, "{author}") is True
        assert not verifySignature("{signature}", {{"amount": 4}}, "{author}")
        assert not verifySignature("{signature}", {{"amount": 3}}, "{AGENT}")
        assert not verifySignature("no", {{"amount": 3}}, "{author}")
        return True
        """
    assert verdict(engine, body, properties={"names": ["a"]}) == Valid()
    assert "fraction" in verdict(engine, "makeHash(0.5)").detail


def test_parts_of_python_work_as_in_python(engine):
    body = """
        @dataclasses.dataclass
        class Point:
            x: int
            y: int = 2
        class Colour(enum.Enum):
            RED = "red"
        class Text(enum.StrEnum):
            A = enum.auto()
        class Base:
            def __init__(self, x): self._x = x
            def __len__(self): return self._x
            def _more(self): return ["more"]
            def keys(self): return [1, 2]
        class Child(Base):
            def __init__(self): super().__init__(4)
            def items(self): return super()._more()
        p = Point(1)
        p.x = 5
        p.x += 1
        child = Child()
        child._x += 1
        assert p == Point(6) and repr(p).endswith("Point(x=6, y=2)") and len(child) == 5
        assert child.keys()[1] == 2 and child.items() == ["more"]
        assert Colour("red") == Colour.RED and Text.A == "a"
        assert isinstance("a", str) and isinstance("a", int | str) and type("a") is str
        assert f"{3.14159:.2f} {'x'!r:>5} {p.x}" == "3.14   'x' 6"
        match note:
            case {"text": str(text)}: assert text == "hello"
            case _: assert False
        assert datetime.datetime.fromtimestamp(0, datetime.UTC).isoformat()[:4] == "1970"
        assert datetime.datetime.strptime("2020-01-02", "%Y-%m-%d").strftime("%d") == "02"
        assert collections.Counter("aab").most_common(1) == [("a", 2)]
        assert collections.namedtuple("P", "x y")(1, 2)._replace(x=3).x == 3
        assert hashlib.sha256(b"").hexdigest()[:8] == "e3b0c442"
        assert re.sub("l+", lambda m: m.group().upper(), note["text"]) == "heLLo"
        assert json.loads(json.dumps({"a": [1, None]})) == {"a": [1, None]}
        assert base64.b64encode(struct.pack("<I", 1)) == b"AQAAAA=="
        assert unicodedata.normalize("NFC", "e\\u0301") == "\\xe9"
        assert "\\xe9".encode("latin-1") == b"\\xe9" and "a".encode("utf-16-le") == b"a\\0"
        assert math.isqrt(10 ** 40) == 10 ** 20 and divmod(10 ** 5_000, 10 ** 4_999) == (10, 0)
        assert functools.reduce(lambda a, b: a + b, itertools.accumulate([1, 2, 3])) == 10
        def g():
            yield from (x % 3 for x in range(5))
        x = sum(g())
        x %= 3
        try:
            {}["x"]
        except (KeyError, IndexError) as error:
            assert str(error) == "'x'"
        else:
            assert False
        finally:
            x += 1
        return x == 2
        """
    assert verdict(engine, body) == Valid()


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("x = (", "line 1"),
        ("\n\nimport os", "line 3"),
        ("from dapp import nothing", "line 1"),
        ("from dapp import rule\n@rule\ndef r(): pass", "line 2"),
        ("from dapp import rule\n@rule('a', link='b')\ndef r(): pass", "line 2"),
        ("\n1 / 0", "line 2"),
        ("x = '\ud800'", "UTF-8"),
    ],
)
def test_a_text_that_cannot_be_used_is_refused_with_its_line(engine, source, said):
    data = source.encode("utf-8", "surrogatepass")
    wrong = dataclasses.replace(program("x = 1"), source=data)
    with pytest.raises(Dms3Error, match=said) as caught:
        engine.load(wrong)
    assert caught.value.code == "rules_invalid"
    assert isinstance(engine.judge(Judge(wrong, ACTION, {})).verdict, Abandoned)


def test_fuel_is_told_and_only_a_new_copy_says_no(engine):
    rules = ruled("return note['text'] == 'hello'")
    first, used = judged(engine, rules), judged(engine, rules)
    assert 0 < used.fuel <= first.fuel
    assert judged(engine, rules, {"text": "x"}).fuel > 2 * used.fuel
    loop = judged(engine, ruled("while True: pass", fuel=10_000_000))
    assert 10_000_000 < loop.fuel < 40_000_000


def test_half_of_the_fuel_is_a_used_copys_limit(engine):
    body = "for _ in range(3_000): pass\nreturn True"
    need = judged(engine, ruled(body)).fuel
    scarce = ruled(body, fuel=need + need // 2)
    engine.load(scarce)
    twice = judged(engine, scarce)
    assert twice.verdict == Valid()
    assert twice.fuel > need + need // 2  # tried in a used copy, then in a new one
    assert isinstance(judged(engine, ruled(body, fuel=need // 2)).verdict, Abandoned)


def test_memory_is_that_of_the_program(engine):
    body = "x = bytes(40_000_000)\nreturn True"
    assert verdict(engine, body) == Valid()
    assert isinstance(verdict(engine, body, memory=48 * 1024 * 1024), Abandoned)


def test_programs_that_are_not_kept_ready_are_judged_alike(runner):
    few = SandboxEngine(runner, instances=1)
    programs = [ruled(f"return note['text'] == 'hello' and {n} >= 0") for n in range(3)]
    for _ in range(2):
        assert [judged(few, each).verdict for each in programs] == [Valid()] * 3


def test_the_hash_of_the_action_is_among_what_a_rule_is_told(engine):
    assert verdict(engine, f"return action['hash'] == '{HASH}' and action['seq'] == 7") == Valid()


def test_a_rule_about_the_proof_says_who_may_take_part(engine):
    rules = program("""
        from dapp import rule

        @rule()
        def who_is_invited(proof, action):
            if action["kind"] == "proof":
                return bool(proof) and proof.get("code") == "friends"
        """)

    def of(data):
        chain = Chain(dna=DNA)
        chain.add("dna")
        action, content = shown_to_rules(chain.add("proof", proof=data))
        return engine.judge(Judge(rules, action, content)).verdict

    assert of(encode_values({"code": "friends"}, "proof")) == Valid()
    for data in (encode_values({"code": "foes"}, "proof"), b"", b"no values"):
        refused = of(data)
        assert isinstance(refused, Invalid)
        assert refused.rule == "who_is_invited"
