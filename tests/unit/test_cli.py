"""The command line: what it prints where, exit statuses, help, secrets, files, speed of help."""

import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dms3.api.serve import serve
from dms3.cli import generated, main, output, screen
from dms3.cli.shared import Shared, take_shared
from dms3.core.errors import Dms3Error
from dms3.node.commands import TABLE as REAL
from unit.fronts import FILE, FILE_CID, TABLE, TOKEN, UPLOAD, Fixture, make

HELP_RATIO_MAX = 2.0  # of `python -c 'import typer'`


@contextmanager
def serving() -> Iterator[tuple[str, Fixture]]:
    """A fake node served from a thread: the command line blocks."""
    ready, stop = threading.Event(), threading.Event()
    found: list[tuple[str, Fixture]] = []

    async def run() -> None:
        fixture = make()
        async with serve(fixture.front.app, "127.0.0.1", 0) as listening:
            found.append((listening.url, fixture))
            ready.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    try:
        assert ready.wait(30)
        yield found[0]
    finally:
        stop.set()
        thread.join(30)


@pytest.fixture(scope="module")
def node() -> Iterator[tuple[str, Fixture]]:
    with serving() as found:
        yield found


@pytest.fixture
def dms3(node, tmp_path, monkeypatch, capfd):
    """Run words against the fake node: (status, stdout, stderr)."""
    for name in list(os.environ):
        if name.startswith("DMS3_"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(main, "TABLE", TABLE)
    home = tmp_path / "home"
    home.mkdir()
    (home / "api.token").write_text(TOKEN)
    monkeypatch.setenv("DMS3_HOME", str(home))
    monkeypatch.setenv("DMS3_API", node[0])

    def run(*words: str) -> tuple[int, str, str]:
        status = main.run(words)
        return status, *capfd.readouterr()

    return run


def test_bare_command_prints_two_examples(dms3):
    status, out, _ = dms3()
    assert status == 0
    assert out.count("  dms3 ") == 2


def test_json_is_exactly_the_envelope(dms3):
    for words in (("--json", "echo", "all", "a", "b"), ("echo", "all", "a", "--json", "b")):
        status, out, err = dms3(*words)
        assert (status, err) == (0, "")
        assert set(json.loads(out)) == {"v", "data"}
        assert json.loads(out)["data"]["words"] == ["a", "b"]
        assert out.count("\n") == 1


def test_options_become_parameters(dms3):
    _, out, _ = dms3(
        *("echo", "all", "a", "--count", "3", "--loud", "--scope", "peers"),
        *("--with", "bob", "--json"),
    )
    data = json.loads(out)["data"]
    assert (data["count"], data["loud"], data["scope"], data["with"]) == (3, True, "peers", "bob")
    _, out, _ = dms3("echo", "all", "--json", "--", "--json")
    assert json.loads(out)["data"]["words"] == ["--json"]


def test_a_stream_is_one_object_per_line_and_no_progress_in_it(dms3):
    status, out, err = dms3("work", "count", "2", "--json")
    assert status == 0
    assert [json.loads(line)["data"] for line in out.splitlines()] == [
        {"number": 0},
        {"number": 1},
        {"counted": 2},
    ]
    assert err == ""


def test_plain_output_without_a_terminal(dms3):
    _, out, err = dms3("echo", "all", "a", "b")
    rows = [line.split("\t") for line in out.splitlines()]
    assert rows[:3] == [["words", "a"], ["words", "b"], ["count", "1"]]
    _, out, _ = dms3("search", "x")
    assert "<script>x</script>" in out
    assert str(FILE_CID) in out
    assert "\x1b" not in out + err


def test_what_others_wrote_does_not_steer_the_terminal():
    lines = output.plain({"title": "a\x1b[31mb\nc", "rows": [{"x": "\x07"}], "in": {"y": None}})
    assert lines == ["title\ta [31mb c", "rows\t ", "in.y\t-"]


def test_a_terminal_shows_fields_rows_and_cards(capfd, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    screen.show({"peers": {"known": 2}, "none": [], "rows": [{"a": 1, "b": None}], "names": ["x"]})
    shown = " ".join(capfd.readouterr().out.split())
    assert shown == "rows a b 1 - peers known 2 none none names x"
    screen.show({"wide": [{str(number): "[b]v" * 40 for number in range(9)}]})
    assert "  8  " + "[b]v" * 40 in capfd.readouterr().out, "what is copied is in one piece"
    screen.show_lines([[("a [b]", "bold"), ("c" * 150, "")]])
    assert capfd.readouterr().out == "a [b]" + "c" * 150 + "\n"
    screen.show_picture("dms3:" + "a" * 300)
    assert "\u2588" in capfd.readouterr().out
    monkeypatch.setenv("COLUMNS", "40")
    screen.show_picture("dms3:" + "a" * 300)
    assert capfd.readouterr().out == "", "no picture that would wrap"


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("work", "fail", "not_found"), 1, "It failed."),
        (("work", "fail", "bug"), 1, "an error of its own"),
        (("work", "fail", "content_invalid"), 4, "Do not."),
        (("work", "fail", "timed_out"), 5, "It failed."),
        (("work", "fail", "argument_invalid"), 2, "It failed."),
        (("work", "count", "1", "--fail", "timed_out"), 5, "It failed."),
        (("ech", "all"), 2, "Did you mean 'echo'"),
        (("echo", "al"), 2, "Did you mean 'all'"),
        (("echo", "all", "a", "--cout", "1"), 2, "--count"),
        (("echo", "all"), 2, "WORDS"),
        (("echo", "all", "a", "--count", "x"), 2, "--count"),
        (("echo", "all", "a", "--scope", "peer"), 2, "peers"),
        (("echo",), 2, ""),
        (("--home",), 2, "--home needs a value"),
        (("status", "--api", "ftp://x"), 2, "not the address"),
        (("status", "--api", "127.0.0.1:1"), 3, "dms3 up"),
    ],
)
def test_exit_statuses(dms3, words, status, said):
    found, out, err = dms3(*words)
    assert found == status
    assert said in err
    assert "Traceback" not in err
    assert out == "" or words == ("echo",) or words[:2] == ("work", "count")
    found, out, err = dms3(*words, "--json")
    if words != ("--home",):
        assert found == status
        document = json.loads(err.splitlines()[-1])
        assert document["v"] == 1
        assert set(document["error"]) == {"code", "message", "hint"}


def test_a_failed_doctor_is_exit_status_1(dms3):
    status, out, _ = dms3("doctor", "--json")
    assert status == 1
    assert json.loads(out)["data"]["failed"] == 1


def test_the_version_anywhere(dms3):
    for words in (("--version",), ("store", "list", "--version")):
        status, out, _ = dms3(*words)
        assert status == 0
        assert out.startswith("version\t")


def test_files_are_named_on_the_own_machine_and_sent_to_another(dms3, node, tmp_path, monkeypatch):
    folder = tmp_path / "letters"
    folder.mkdir()
    (folder / "a.txt").write_text("a")
    (folder / "b.txt").write_text("bb")
    _, out, _ = dms3("echo", "files", str(folder), UPLOAD, "--json")
    assert json.loads(out)["data"]["paths"] == [str(folder), UPLOAD]
    monkeypatch.chdir(tmp_path)
    _, out, _ = dms3("echo", "files", "letters/a.txt", "--json")
    assert json.loads(out)["data"]["paths"] == [str(folder / "a.txt")]
    monkeypatch.setenv("DMS3_TOKEN", TOKEN)  # a token from elsewhere: perhaps another machine
    node[1].node.uploads.clear()
    _, out, _ = dms3("echo", "files", str(folder), "--json")
    assert json.loads(out)["data"]["paths"] == [f"{UPLOAD}/a.txt", f"{UPLOAD}/b.txt"]
    assert node[1].node.uploads == [b"a", b"bb"]
    status, _, err = dms3("echo", "files", str(tmp_path / "missing"))
    assert status == 2
    assert "cannot be read" in err


def test_a_secret_comes_from_a_file_or_stdin_and_is_not_shown(dms3, tmp_path, monkeypatch):
    path = tmp_path / "secret"
    path.write_text("correct horse\nsecond line\n")
    status, out, err = dms3("echo", "secret", "--passphrase-file", str(path), "--json")
    assert (status, json.loads(out)["data"]["length"]) == (0, 13)
    assert "horse" not in out + err
    status, _, err = dms3("echo", "secret", "--passphrase-file", str(tmp_path / "no"))
    assert status == 2
    assert "cannot be read" in err
    read, write = os.pipe()
    os.write(write, b"from stdin\n")
    os.close(write)
    with os.fdopen(read) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        _, out, _ = dms3("echo", "secret", "--json")
    assert json.loads(out)["data"]["length"] == 10
    status, _, err = dms3("echo", "secret", "--passphrase", "horse")
    assert status == 2, "no secret in the list of processes"


def test_content_to_a_file_and_to_stdout(dms3, tmp_path):
    target = tmp_path / "out.bin"
    status, out, _ = dms3("store", "get", str(FILE_CID), "-o", str(target), "--json")
    assert status == 0
    assert target.read_bytes() == FILE
    assert json.loads(out)["data"]["file"] == str(target)
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".part"] == []
    status, _, err = dms3("store", "get", str(FILE_CID), "--json")
    assert status == 2
    assert "-o FILE" in err
    status, _, err = dms3("store", "get", str(FILE_CID), "-o", str(tmp_path / "no" / "x"))
    assert status == 2
    assert "cannot be written" in err


def test_every_command_has_help_with_an_example(dms3, monkeypatch):
    monkeypatch.setattr(main, "TABLE", REAL)
    for row in REAL:
        status, out, _ = dms3(row.noun, *([row.verb] if row.verb else []), "--help")
        assert status == 0
        assert "Example:" in out, row.name
        assert "dms3" in out
    for words in (("up",), ("dev",), ("demo",), ("open",), ("sim", "run"), ("config", "show")):
        status, out, _ = dms3(*words, "--help")
        assert status == 0
        assert "Example: dms3 " + " ".join(words) in " ".join(out.split())
    status, out, _ = dms3("--help")
    for noun in ("store", "search", "up", "--json", "Exit status"):
        assert noun in out


def test_settings_and_where_they_come_from(dms3, tmp_path, monkeypatch):
    (tmp_path / "home" / "config.toml").write_text('name = "alice"\n')
    monkeypatch.setenv("DMS3_ROLE", "relay")
    _, out, _ = dms3("config", "show", "--origin", "--json")
    rows = {row["setting"]: row for row in json.loads(out)["data"]["settings"]}
    assert (rows["name"]["value"], rows["name"]["origin"]) == ("alice", "config.toml")
    assert (rows["role"]["value"], rows["role"]["origin"]) == (["relay"], "environment")
    assert rows["listen"]["origin"] == "default"
    _, out, _ = dms3("config", "show", "--json")
    assert json.loads(out)["data"]["name"] == "alice"


def test_the_link_to_the_page(dms3, node):
    _, out, _ = dms3("open", "--json")
    assert json.loads(out)["data"]["url"].startswith(node[0] + "/login?code=")


def test_a_simulation_prints_lines(dms3):
    status, out, _ = dms3("sim", "run", "bank", "--nodes", "3", "--minutes", "0.02", "--seed", "5")
    last = json.loads(out.splitlines()[-1])
    assert (status, last["ok"], last["seed"]) == (0, True, 5)
    assert dms3("sim", "run", "nothing")[0] == 2


def test_shared_options():
    environment = {"DMS3_API": "e:1", "DMS3_JSON": "yes"}
    assert take_shared(["a"], environment) == (Shared(None, "e:1", True), ["a"])
    shared, rest = take_shared(["--api=f:1", "a", "--home", "/h", "--", "--home", "x"], environment)
    assert (shared.api, shared.home, rest) == ("f:1", Path("/h"), ["a", "--", "--home", "x"])
    with pytest.raises(Dms3Error):
        take_shared(["--home="], {})


def test_a_folder_too_large_to_send_is_refused(dms3, tmp_path, monkeypatch):
    monkeypatch.setattr(generated, "UPLOADS_MAX", 1)
    monkeypatch.setenv("DMS3_TOKEN", TOKEN)
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text(name)
    status, _, err = dms3("echo", "files", str(tmp_path))
    assert status == 2
    assert "at most 1" in err


def test_without_a_node_no_files_are_looked_at(dms3, tmp_path, monkeypatch):
    monkeypatch.setattr(generated, "UPLOADS_MAX", 1)
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text(name)
    (tmp_path / "home" / "api.token").unlink()  # as in a home that no node has ever used
    for token in ("", TOKEN):
        monkeypatch.setenv("DMS3_TOKEN", token)
        for path in (tmp_path, tmp_path / "missing"):
            words = ("echo", "files", str(path), "--api", "127.0.0.1:1")
            status, _, err = dms3(*words)
            assert status == 3
            assert "dms3 up" in err


# Processes of their own


def process(*words: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "dms3", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def test_ctrl_c_cancels_the_command_and_exits_130(node, tmp_path):
    url, fixture = node
    fixture.node.started.clear()
    fixture.node.cancelled.clear()
    (tmp_path / "api.token").write_text(TOKEN)
    code = (
        "import sys; from dms3.cli import main; from unit.fronts import TABLE; "
        "main.TABLE = TABLE; sys.exit(main.run(sys.argv[1:]))"
    )
    words = ["work", "wait", "--home", str(tmp_path), "--api", url]
    child = subprocess.Popen(
        [sys.executable, "-c", code, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    _wait(fixture.node.started.is_set)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=30)
    assert child.returncode == 130, err
    assert (out, err) == ("", "Stopped.\n")
    _wait(fixture.node.cancelled.is_set)


def _wait(holds) -> None:
    """Another process and another thread: there is no event of theirs to wait for."""
    for _ in range(3_000):
        if holds():
            return
        time.sleep(0.01)
    pytest.fail("it did not happen within 30 s")


def test_a_reader_that_leaves_early_is_no_error():
    child = process("--help")
    assert child.stdout is not None
    child.stdout.close()
    assert child.stderr is not None
    assert "Traceback" not in child.stderr.read()
    child.wait(30)
    child.stderr.close()


def test_help_imports_nothing_of_a_node():
    code = (
        "import sys; from dms3.cli import main; main.run(['store', 'add', '--help']); "
        "heavy = ('fastapi', 'starlette', 'cryptography', 'sqlcipher3', 'httpx', 'uvicorn', "
        "'nacl', 'structlog', 'jinja2', 'asyncio'); "
        "print([name for name in heavy if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stderr == "[]\n"


def test_help_costs_at_most_twice_the_import_of_typer():
    # What was edited a moment ago is compiled once, not by each of the runs.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}

    def spent() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    def cost(*words: str) -> float:
        begun = spent()
        command = [sys.executable, *words]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
        return spent() - begun

    typer, ours = [], []
    for _ in range(7):  # side by side; the cheapest run of each is the one least disturbed
        typer.append(cost("-c", "import typer"))
        ours.append(cost("-m", "dms3", "--help"))
    ratio = min(ours) / min(typer)
    print(f"dms3 --help: {ratio:.2f} x import typer")
    assert ratio <= HELP_RATIO_MAX, (typer, ours)
