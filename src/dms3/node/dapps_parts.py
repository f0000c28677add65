"""What the files of an app mean: its manifest, its DNA, its functions, its page.

Source: docs/dapps.md, "The folder"; `chain/manifest.py`. Pure. A manifest that names what is not in
the folder, or claims what the files are not, is refused here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dms3.chain.dna import Dna
from dms3.chain.manifest import Manifest, dna_of, parse_manifest
from dms3.chain.sandboxing import PYTHON, Program
from dms3.core.errors import Dms3Error
from dms3.core.limits import DAPP_NAME_CHARS_MAX, FUNCTIONS_BYTES_MAX
from dms3.node.dapps_folder import INDEX, MANIFEST

_WASM_MAGIC = b"\0asm"


@dataclass(frozen=True, slots=True)
class Parts:
    """An app, read from its files: text of `functions` (b"": none), folder `page` ("": none)."""

    manifest: Manifest
    dna: Dna
    functions: bytes = field(repr=False)
    page: str = ""

    @property
    def program(self) -> Program:
        """The rules, as the sandbox takes them."""
        dna = self.dna
        bounds = (dna.fuel, dna.memory)
        return Program(dna.id, dna.level, dna.source, dna.properties, "rules", *bounds)

    @property
    def code(self) -> Program:
        """The functions, as the sandbox takes them."""
        dna = self.dna
        return Program(dna.id, PYTHON, self.functions, dna.properties, "functions")


def parts_of(files: Mapping[str, bytes]) -> Parts:
    """What the files of an app mean; raises `content_invalid` with what is wrong."""
    manifest = parse_manifest(_text(files, MANIFEST))
    rules = _named(files, manifest.rules, "rules")
    if manifest.level == PYTHON:
        _text(files, manifest.rules)
    elif not rules.startswith(_WASM_MAGIC):
        raise _invalid(f"{manifest.rules} is no WASM module, as level = {manifest.level!r} says.")
    functions = b""
    if manifest.functions:
        functions = _named(files, manifest.functions, "functions")
        _text(files, manifest.functions)
        if len(functions) > FUNCTIONS_BYTES_MAX:
            raise _invalid(
                f"{manifest.functions} has {len(functions):,} bytes; at most "
                f"{FUNCTIONS_BYTES_MAX:,} are taken."
            )
    if manifest.page:
        _named(files, f"{manifest.page}/{INDEX}", "page")
    return Parts(manifest, dna_of(manifest, rules), functions, manifest.page)


def address_name(name: str) -> str:
    """`name` as a part of an address: letters, digits and hyphens, not at its ends."""
    return name.replace("_", "-").strip("-")[:DAPP_NAME_CHARS_MAX].rstrip("-")


def check_name(name: str) -> str:
    """`name`, when an app can be called so here; raises `argument_invalid`."""
    signs = set("abcdefghijklmnopqrstuvwxyz0123456789-")
    if not name or set(name) - signs or address_name(name) != name or not name[0].isalpha():
        raise Dms3Error(
            "argument_invalid",
            f"{name[:64]!r} cannot be the name of an app here.",
            hint=f"Use lower-case letters, digits and -, at most {DAPP_NAME_CHARS_MAX}.",
        )
    return name


def _named(files: Mapping[str, bytes], path: str, what: str) -> bytes:
    if path not in files:
        raise _invalid(f"{MANIFEST} names {path} as its {what}, and there is no such file.")
    return files[path]


def _text(files: Mapping[str, bytes], path: str) -> str:
    try:
        return files[path].decode()
    except KeyError:
        raise _invalid(f"There is no {path}.") from None
    except UnicodeDecodeError as error:
        raise _invalid(f"{path} is not UTF-8 text: byte {error.start}.") from error


def _invalid(message: str) -> Dms3Error:
    return Dms3Error("content_invalid", message, hint="docs/dapps.md says what a folder holds.")
