"""What pages and docstrings point to is there: files, headings, tests, links."""

import ast
import re
from pathlib import Path

import pytest

from docs.fences import DOCUMENTS, ROOT

SOURCES = sorted((ROOT / "src").rglob("*.py"))
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_TEST = re.compile(r"(?<![\w/])(?:tests/)?(\w+/(?:[\w/]+/)?test_\w+(?:\.py)?)")
_CITED = re.compile(
    r"docs/([\w/-]+(?:\.\w+)?)"  # a page
    r"((?:\s*(?:,|and|;)?\s*(?:bytes in\s+)?\"[^\"]+\")*)"  # and headings of it
)


def headings(page: Path) -> set[str]:
    """The headings of `page`, without backquotes."""
    found = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {heading.replace("`", "") for heading in found}


def anchor(heading: str) -> str:
    """The fragment under which a reader finds `heading`."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in _LINK.findall(page.read_text()):
        if link.startswith("https://"):
            continue
        name, _, fragment = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page.name}: {link}"
        if fragment:
            assert fragment in {anchor(heading) for heading in headings(target)}, link


def test_the_index_leads_to_every_page() -> None:
    index = ROOT / "docs/index.md"
    linked = {(index.parent / link).resolve() for link in _LINK.findall(index.read_text())}
    plans = ROOT / "docs/plans"
    pages = {page for page in DOCUMENTS if plans not in page.parents} - {index, ROOT / "README.md"}
    assert pages <= linked, pages - linked


@pytest.mark.parametrize("page", ["invariants.md", "attacks.md", "architecture.md"])
def test_tests_that_pages_name_exist(page: str) -> None:
    named = _TEST.findall((ROOT / "docs" / page).read_text())
    assert named
    for name in named:
        path = name if name.endswith(".py") else f"{name}.py"
        assert (ROOT / "tests" / path).is_file(), f"{page} names tests/{path}"


@pytest.mark.parametrize("page", ["invariants.md", "attacks.md"])
def test_single_tests_that_pages_name_exist(page: str) -> None:
    """`FILE::test_name`, and `test_name` after it, of which a last `...` stands for the rest."""
    file = ""
    count = 0
    for part in re.findall(r"`([^`]+)`", (ROOT / "docs" / page).read_text()):
        path, _, test = part.rpartition("::")
        if path:
            file = path.removeprefix("tests/")
        elif not re.fullmatch(r"test_\w+", part):
            continue
        name = (test or part).removesuffix("...")
        defined = re.findall(r"def (test_\w+)", (ROOT / "tests" / file).read_text())
        assert any(one.startswith(name) for one in defined), f"{page}: {file}::{name}"
        count += 1
    assert count


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_docstrings_cite_pages_and_headings_that_exist(source: Path) -> None:
    text = " ".join((ast.get_docstring(ast.parse(source.read_text())) or "").split())
    for name, quoted in _CITED.findall(text):
        page = ROOT / "docs" / name
        assert page.is_file(), f"{source.name} cites docs/{name}"
        for heading in re.findall(r'"([^"]+)"', quoted):
            assert any(one.startswith(heading) for one in headings(page)), (
                f"{source.name} cites {heading!r} of docs/{name}"
            )


def test_sources_name_no_page_that_is_not_here() -> None:
    """A comment such as `architecture.md: why` names a page of docs/, or a file beside it."""
    known = {page.name for page in (ROOT / "docs").rglob("*.md")} | {"README.md"}
    for source in SOURCES:
        for name in re.findall(r"\b([\w-]+\.md)\b", source.read_text()):
            assert name in known, f"{source.relative_to(ROOT)} names {name}"
