"""Pages and program say the same: settings, codes, commands, events, metrics, fields, kinds."""

import re
import subprocess
import sys

import pytest

from dms3.core.errors import CODES, EXIT_STATUS
from dms3.node.commands import TABLE
from dms3.node.config import SETTINGS, load_config, parse_settings
from dms3.node.metrics import Metrics
from dms3.node.table import Command, Parameter, Secret
from dms3.search.kind import FIELDS, KINDS
from docs.fences import ROOT, fences
from docs.tables import DOCS, cells, rows, words


def test_settings_are_documented_by_every_name_they_have() -> None:
    shown = rows("operations.md", "key")
    assert [words(row[0]) for row in shown] == [[key] for key in SETTINGS]
    for key, row in zip(SETTINGS, shown, strict=True):
        on = key in ("open", "mdns", "overlay", "circuits")
        option = f"--no-{key}" if on else f"--{key.replace('_', '-')}"
        assert words(row[1]) == [option]
        assert words(row[2]) == [f"DMS3_{key.upper()}"]
        assert row[4], f"{key} has no meaning"


def test_documented_defaults_are_those_of_a_new_home(tmp_path) -> None:
    config = load_config(tmp_path, {}, {})
    for row in rows("operations.md", "key"):
        [key] = words(row[0])
        for default in words(row[3]):
            assert getattr(config, key) == parse_settings(f"{key} = {_toml(default)}".encode())[key]


def _toml(value: str) -> str:
    return value if value in ("true", "false") else f'"{value}"'


def test_documented_options_are_those_of_up() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "dms3", "up", "--help"], check=True, capture_output=True, text=True
    ).stdout
    options = set(re.findall(r"^ +(?:-h, )?(--[\w-]+)", shown, re.MULTILINE)) - {"--help"}
    assert options == {words(row[1])[0] for row in rows("operations.md", "key")}


def test_files_of_settings_in_the_pages_are_valid() -> None:
    blocks = [fence for fence in fences(DOCS / "operations.md") if fence.language == "toml"]
    assert blocks
    for fence in blocks:
        assert parse_settings(fence.text.encode())


def test_the_service_starts_the_node_with_options_that_exist() -> None:
    unit = (DOCS / "dms3.service").read_text()
    starts = re.findall(r"^#?ExecStart=\S*/dms3 up (.*)$", unit, re.MULTILINE)
    known = {words(row[1])[0] for row in rows("operations.md", "key")} | {"--home"}
    assert len(starts) == 2, "with and without a passphrase"
    assert set(re.findall(r"--[\w-]+", " ".join(starts))) <= known


def test_error_codes_are_documented_as_they_are() -> None:
    shown = rows("errors.md", "code")
    expected = [
        [f"`{code}`", row.blame.value, str(row.http), str(EXIT_STATUS[row.exit]), row.retry.value]
        for code, row in CODES.items()
    ]
    assert [row[:5] for row in shown] == expected
    assert all(row[5] for row in shown), "every code says what happened"


def test_commands_are_documented_as_they_are() -> None:
    expected = [[f"`{usage(command)}`", command.summary] for command in TABLE]
    wanted = "\n".join(f"| {row[0]} | {row[1]} |" for row in expected)
    shown = [row for row in node_commands() if row in expected]
    assert shown == expected, f"the table of docs/interfaces.md should be\n{wanted}"
    assert len(node_commands()) == len(expected)


def node_commands() -> list[list[str]]:
    """The second table of interfaces.md; the first is that of commands that need no node."""
    text = (DOCS / "interfaces.md").read_text().partition("## Command line\n")[2]
    lines = iter(text.partition("| command | does |\n|---|---|\n")[2].splitlines())
    return list(cells(lines))


def usage(command: Command) -> str:
    """How `command` is typed."""
    parts = [_usage(parameter) for parameter in command.parameters]
    return " ".join(["dms3", command.name, *parts, *["[-o FILE]"] * command.download])


def _usage(parameter: Parameter) -> str:
    more = "..." * parameter.many
    if parameter.positional:
        name = parameter.metavar + more
        return name if parameter.required else f"[{name}]"
    flag = parameter.about.flag or "--" + parameter.name.replace("_", "-")
    if parameter.type is Secret:
        return f"[{flag}-file FILE]"
    if parameter.type is bool:
        return f"[{flag}]"
    value = r"\|".join(parameter.choices) or parameter.metavar
    return f"{flag} {value}" if parameter.required else f"[{flag} {value}]{more}"


def test_topics_of_events_are_those_that_machines_tell() -> None:
    sources = [
        path.read_text()
        for folder in (
            "p2p",
            "search",
            "node",
            "messaging",
            "names",
            "storage",
            "source",
            "validation",
        )
        for path in sorted((ROOT / "src/dms3" / folder).glob("*.py"))
    ]
    told = {
        topic
        for text in sources
        for topic in re.findall(r'(?:[Nn]otify|_tell)\(\s*"([\w.]+)"', text)
    }
    assert {topic for row in rows("api.md", "topic") for topic in words(row[0])} == told


def test_metrics_are_those_of_a_node() -> None:
    found = re.findall(r"^# TYPE (\w+) (\w+)$", Metrics().text(None).decode(), re.MULTILINE)
    kinds = {name: kind for name, kind in found if not name.endswith("_created")}
    assert {words(row[0])[0]: row[1] for row in rows("operations.md", "name")} == kinds


@pytest.mark.parametrize(("heading", "known"), [("field", FIELDS), ("kind", KINDS)])
def test_fields_and_kinds_of_searches(heading, known) -> None:
    shown = rows("search.md", heading)
    assert [words(row[0])[0] for row in shown] == list(known)
    assert [row[-1] for row in shown] == [one.meaning for one in known.values()]
