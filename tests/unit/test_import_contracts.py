"""The import contracts of pyproject.toml: each reports the violation it is there for."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]

# Contract id -> one line in one module that breaks it (and, in this tree, only it).
VIOLATIONS = {
    "layers": ("core/ids.py", "import dms3.libp2p.noise"),
    "pure": ("crypto/keys.py", "import secrets"),
    "subsystems": ("p2p/link.py", "import dms3.search.rank"),
    "adapters": ("io/clock.py", "import dms3.io.loop"),
    "simulator": ("sim/world.py", "import dms3.io.loop"),
    "sdk": ("sdk/client.py", "import dms3.node.driver"),
    "guest": ("guest/app.py", "import dms3.core.ids"),
}
MODULES = (
    "__main__ cli.main api.http web.site node.driver io.clock io.loop p2p.link dht.lookup "
    "search.rank messaging.mailbox storage.storage names.names delivery.rules dm3.keys "
    "crypto.keys libp2p.noise core.ids sim.world sdk.client testing.plugin guest.app "
    "chain.action source.source validation.validation gossip.gossip"
)


def write_tree(root: Path) -> None:
    """A package of empty modules with the shape of ours, and the arrows we allow."""
    (root / "pyproject.toml").write_text(contracts_only())
    for name in MODULES.split():
        path = module_path(root, "dms3." + name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for contract in CONTRACTS["contracts"]:
        for arrow in contract.get("ignore_imports", []):
            importer, imported = arrow.split(" -> ")
            path = module_path(root, importer)
            with path.open("a") as file:
                file.write(f"import {imported}\n")
            if imported.startswith("dms3."):
                module_path(root, imported).touch()
    for folder in [root / "src/dms3", *(root / "src/dms3").glob("*/")]:
        (folder / "__init__.py").touch()


def module_path(root: Path, module: str) -> Path:
    return root / "src" / (module.replace(".", "/") + ".py")


def contracts_only() -> str:
    """The part of our pyproject.toml that the linter reads."""
    text = (ROOT / "pyproject.toml").read_text()
    start = text.index("[tool.importlinter]")
    following = text.find("\n[tool.", text.index("[[tool.importlinter.contracts]]"))
    return text[start:following] if following > 0 else text[start:]


def lint(root: Path) -> dict[str, str]:
    """Contract id -> KEPT or BROKEN, as the linter says."""
    program = Path(sys.executable).parent / "lint-imports"
    found = subprocess.run(
        [program, "--no-cache"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root / "src"), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    verdicts = {}
    for contract in CONTRACTS["contracts"]:
        lines = [
            line for line in found.stdout.splitlines() if line.startswith(contract["name"] + " ")
        ]
        assert len(lines) == 1, found.stdout + found.stderr
        verdicts[contract["id"]] = lines[0].removeprefix(contract["name"]).split()[0]
    assert (found.returncode == 0) == (set(verdicts.values()) == {"KEPT"}), found.stdout
    return verdicts


def test_every_contract_has_a_violation_here():
    assert {contract["id"] for contract in CONTRACTS["contracts"]} == set(VIOLATIONS)


def test_a_tree_that_keeps_the_rules_passes(tmp_path):
    write_tree(tmp_path)
    assert set(lint(tmp_path).values()) == {"KEPT"}


@pytest.mark.parametrize("contract", sorted(VIOLATIONS))
def test_a_violation_is_reported_by_its_contract(tmp_path, contract):
    write_tree(tmp_path)
    file, line = VIOLATIONS[contract]
    (tmp_path / "src/dms3" / file).write_text(line + "\n")
    verdicts = lint(tmp_path)
    assert verdicts.pop(contract) == "BROKEN"
    assert set(verdicts.values()) == {"KEPT"}, verdicts
