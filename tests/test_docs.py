"""The documents say what the code does."""

from dataclasses import fields
from pathlib import Path

import pytest

from connect.protocol.lifecycle import DisconnectReason
from connect.settings import Limits, Timing

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("name", "default"),
    [(f"timing.{field.name}", field.default) for field in fields(Timing)]
    + [(f"limits.{field.name}", field.default) for field in fields(Limits)],
)
def test_every_setting_is_listed_with_its_default(name: str, default: float) -> None:
    table = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    [row] = [line for line in table.splitlines() if line.startswith(f"| `{name}` |")]
    shown = row.split("|")[2].split()[0]
    assert float(shown) == default


@pytest.mark.parametrize("reason", DisconnectReason)
def test_every_reason_of_a_disconnect_is_explained(reason: DisconnectReason) -> None:
    table = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    heads = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert any(f"`{reason}`" in head for head in heads)


@pytest.mark.parametrize("path", sorted((ROOT / "docs").glob("*.md")), ids=lambda p: p.name)
def test_the_readme_links_every_document(path: Path) -> None:
    assert f"docs/{path.name}" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_dependency_is_explained() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    explained = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for requirement in project["dependencies"]:
        name = requirement.split("[")[0].split(">")[0].split("=")[0]
        assert name in explained, name
