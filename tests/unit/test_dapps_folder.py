import json

import pytest

from dms3.cli.main import run
from dms3.core.cid import DAG_PB, RAW, Cid
from dms3.core.dag_pb import Link
from dms3.core.errors import Dms3Error
from dms3.core.limits import DAPP_NAME_CHARS_MAX, FUNCTIONS_BYTES_MAX
from dms3.node import dapps_folder
from dms3.node.dapps_folder import (
    SHIPPED,
    Files,
    read_cid,
    read_folder,
    read_uploads,
    shipped,
    shipped_folder,
)
from dms3.node.dapps_names import (
    ANCHOR_CHARS_MAX,
    agent_of,
    anchor,
    bytes_of,
    hash_of,
    hex_of,
    place_of,
)
from dms3.node.dapps_parts import address_name, check_name, parts_of
from dms3.node.table import BlobOrPath
from unit.dapps_kit import guestbook
from unit.fronts import in_loop


def refusal(work, *given: object) -> Dms3Error:
    with pytest.raises(Dms3Error) as caught:
        work(*given)
    return caught.value


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"dapp.toml": b'name = "a"\nfunctions = "calls.py"\n'}, "calls.py as its functions"),
        ({"dapp.toml": b'name = "a"\npage = "site"\n'}, "site/index.html as its page"),
        ({"dapp.toml": b'name = "a"\nrules = "law.py"\n'}, "law.py as its rules"),
        ({"dapp.toml": b'name = "a"\nlevel = "wasm-1"\nrules = "rules.py"\n'}, "no WASM module"),
        ({"dapp.toml": b'name = "a"\nrules = "../rules.py"\n'}, "in the app's folder"),
        ({"dapp.toml": b'name = "a"\nauthor = "me"\n'}, "no such key"),
        ({"dapp.toml": b"\xff"}, "not UTF-8"),
        ({"rules.py": b"\xff\xfe"}, "not UTF-8"),
        (
            {
                "dapp.toml": b'name = "a"\nfunctions = "functions.py"\n',
                "functions.py": b"#" * (FUNCTIONS_BYTES_MAX + 1),
            },
            "at most",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_manifest_that_lies_is_refused(files, said):
    error = refusal(parts_of, guestbook() | files)
    assert error.code == "content_invalid"
    assert said in error.message


def test_a_folder_without_a_manifest_or_rules_is_no_app():
    assert refusal(parts_of, {}).code == "content_invalid"
    assert "rules.py" in refusal(parts_of, {"dapp.toml": b'name = "a"\n'}).message


def test_functions_page_title_and_tests_are_outside_of_the_id():
    one = parts_of(guestbook())
    toml = guestbook()["dapp.toml"].decode()
    other = guestbook(functions__py="# none\n", dapp__toml=toml.replace("Guestbook", "Visitors"))
    other |= {"page/index.html": b"", "test_more.py": b"", "notes.txt": b"anything"}
    assert parts_of(other).dna.id == one.dna.id
    assert parts_of(guestbook(rules__py="# none\n")).dna.id != one.dna.id
    longer = toml.replace("chars_max = 600", "chars_max = 601")
    assert parts_of(guestbook(dapp__toml=longer)).dna.id != one.dna.id


def test_every_shipped_app_is_an_app():
    assert shipped() == ["agreement", "guestbook", "notes"]
    for name in shipped():
        parts = parts_of(read_folder(shipped_folder(name)))
        assert parts.manifest.name == name
        assert parts.page == "page"
    error = refusal(shipped_folder, "gestbook")
    assert (error.code, error.hint) == ("not_found", "Did you mean guestbook?")


def test_hidden_files_links_and_what_python_leaves_are_no_part(tmp_path):
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "x.pyc").write_bytes(b"x")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").write_bytes(b"x")
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "index.html").write_bytes(b"x")
    (tmp_path / "dapp.toml").write_bytes(b'name = "a"\n')
    (tmp_path / "secret").symlink_to("/etc/hostname")
    assert sorted(read_folder(tmp_path)) == ["dapp.toml", "page/index.html"]
    assert refusal(read_folder, tmp_path / "page").code == "not_found"


def test_a_folder_is_bounded_in_files_and_bytes(monkeypatch):
    monkeypatch.setattr(dapps_folder, "DAPP_FILES_MAX", 2)
    monkeypatch.setattr(dapps_folder, "DAPP_FILE_BYTES_MAX", 10)
    monkeypatch.setattr(dapps_folder, "DAPP_BYTES_MAX", 15)
    files = Files()
    files.add("a", b"x" * 10)
    assert refusal(files.add, "b", b"x" * 11).code == "limit_reached"
    assert refusal(files.add, "b", b"x" * 6).code == "limit_reached"
    assert refusal(files.add, "a", b"").code == "already_exists"
    files.add("b", b"x" * 5)
    assert refusal(files.add, "c", b"").code == "limit_reached"


@pytest.mark.parametrize("path", ["../a", "a//b", "/a", "a\nb", "a/" * 200 + "b", "x" * 513])
def test_a_path_that_leads_elsewhere_is_refused(path):
    assert refusal(Files().add, path, b"").code == "argument_invalid"


class FakeSpool:
    def __init__(self, **data: bytes) -> None:
        self.data = data

    def size(self, name):
        return len(self.data[name])

    def read(self, name):
        yield self.data[name]


def test_uploads_are_the_folder_that_holds_the_manifest():
    one, two = "a" * 32, "b" * 32
    spool = FakeSpool(**{one: b"manifest", two: b"page"})
    sent = [BlobOrPath(f"{one}/mine/dapp.toml"), BlobOrPath(f"{two}/mine/page/index.html")]
    found = read_uploads(sent, spool)
    assert found == {"dapp.toml": b"manifest", "page/index.html": b"page"}
    outside = [sent[0], BlobOrPath(f"{two}/other/x")]
    assert refusal(read_uploads, outside, spool).code == "argument_invalid"
    assert refusal(read_uploads, sent[1:], spool).code == "not_found"


class FakeContent:
    def __init__(self, data: bytes) -> None:
        self.size, self.data = len(data), data

    async def read(self, start, end):
        yield self.data[start:end]


class FakeNode:
    """Folders and files by CID; a file with a DAG_PB CID is a large one."""

    def __init__(self) -> None:
        self.top = Cid.of(DAG_PB, b"top")
        page, large = Cid.of(DAG_PB, b"page"), Cid.of(DAG_PB, b"large")
        toml, index = Cid.of(RAW, b"toml"), Cid.of(RAW, b"index")
        self.folders = {
            self.top: [Link(toml, "dapp.toml", 4), Link(page, "page", 9), Link(toml, ".x", 4)],
            page: [Link(index, "index.html", 5), Link(large, "film", 3)],
        }
        self.files = {toml: b"toml", index: b"index", large: b"large"}

    async def folder(self, cid):
        if cid not in self.folders:
            raise Dms3Error("argument_invalid", "It is a file.")
        return self.folders[cid]

    async def content(self, cid):
        return FakeContent(self.files[cid])


@in_loop
async def test_a_published_folder_is_read_file_by_file():
    node = FakeNode()
    found = await read_cid(node, node.top)
    assert found == {"dapp.toml": b"toml", "page/index.html": b"index", "page/film": b"large"}
    node.folders[node.top] = node.folders[node.top][1:]
    with pytest.raises(Dms3Error, match="no app"):
        await read_cid(node, node.top)


@pytest.mark.parametrize("name", ["", "A", "a_b", "-a", "a-", "1a", "a.b", "a" * 33, "ä"])
def test_a_name_that_cannot_be_an_address_is_refused(name):
    assert refusal(check_name, name).code == "argument_invalid"


def test_a_name_becomes_a_part_of_an_address():
    assert address_name("guest_book") == "guest-book"
    assert check_name("a" * DAPP_NAME_CHARS_MAX)
    assert address_name("a" * 60) == "a" * DAPP_NAME_CHARS_MAX


def test_places_are_hashes_agents_or_anchors():
    cid = anchor("groups")
    assert place_of("groups") == cid.binary == place_of(str(cid))
    assert place_of("a" * 52) == agent_of("a" * 52)
    assert len(agent_of("a" * 52)) == 32
    assert place_of("x" * 52) == anchor("x" * 52).binary, "no agent: its last bits are not zero"
    assert anchor("x" * ANCHOR_CHARS_MAX) != anchor("x" * (ANCHOR_CHARS_MAX - 1))
    for work, given in (
        (hash_of, "x"),
        (hash_of, 5),
        (agent_of, "a" * 51),
        (anchor, ""),
        (anchor, "x" * (ANCHOR_CHARS_MAX + 1)),
        (anchor, "\ud800"),
    ):
        assert refusal(work, given).code == "argument_invalid"
    assert refusal(bytes_of, "1", "word").code == "argument_invalid"
    assert refusal(hex_of, "xyz", "word").code == "argument_invalid"
    assert hex_of("00ff", "word") == b"\x00\xff"


def test_dapp_new_needs_no_node_and_makes_an_app(tmp_path, capsys):
    words = ["dapp", "new", "my-guests", "--folder", str(tmp_path), "--json"]
    assert run(words) == 0
    data = json.loads(capsys.readouterr().out)["data"]
    parts = parts_of(read_folder(tmp_path / "my-guests"))
    assert parts.manifest.name == data["name"] == "my-guests"
    assert parts.manifest.title == "My guests"
    assert parts.dna.id != parts_of(read_folder(SHIPPED / "guestbook")).dna.id
    rules = (tmp_path / "my-guests" / "rules.py").read_text()
    assert rules.count("@rule") == 2
    assert len(rules.splitlines()) <= 45
    assert "guestbook" not in "".join(
        path.read_text() for path in (tmp_path / "my-guests").rglob("*") if path.is_file()
    )
    assert run(words) == 1, "it is there already"
    assert run(["dapp", "new", "My_App", "--folder", str(tmp_path)]) == 2
