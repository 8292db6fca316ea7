"""The plan of the house: which rooms may import which."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "connect"

# A room may import from those named here, and from itself.
BELOW = {
    "errors": set(),
    "settings": {"errors"},
    "metrics": {"errors", "settings"},
    "logs": {"errors", "settings"},
    "memory": set(),
    "protocol": {"errors", "settings"},
    "config": {"errors", "settings", "protocol"},
    "state": {"errors", "settings", "metrics"},
    "nursery": {"errors", "settings", "metrics", "logs", "protocol", "config", "state"},
    "rpc": {"errors", "settings", "metrics", "protocol", "config", "state"},
    "runs": {"errors", "settings", "metrics", "protocol", "config", "state"},
    "api": {
        "errors", "settings", "metrics", "logs", "protocol", "config", "state", "runs", "reloading",
    },
    "worker": {"errors", "settings", "protocol"},
    "demo": {"worker"},
    "harness": {"errors"},
    "signals": set(),
    "reloading": {"errors", "settings", "metrics", "config"},
    "service": {"nursery", "rpc", "runs", "reloading"},
    "app": {
        "errors", "settings", "metrics", "protocol", "config", "state", "nursery", "rpc", "runs",
        "api", "signals", "reloading", "service",
    },
    "cli": {
        "app", "errors", "settings", "logs", "memory", "protocol", "config", "state", "worker",
        "demo", "signals", "reloading",
    },
    "__main__": {"cli"},
}  # fmt: skip

# Libraries that only some rooms may know.
ONLY_IN = {
    "asyncio": {"rpc/bridge.py"},
    "trio_asyncio": {"rpc/bridge.py"},
}
FOREIGN_TO = {
    "protocol": {"trio", "redis", "hiredis", "fakeredis", "grpclib", "trio_websocket"},
    "config": {"trio", "redis", "hiredis", "fakeredis", "grpclib", "trio_websocket"},
}


def imports(path: Path) -> set[str]:
    """Return the modules that a file imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def sources() -> list[Path]:
    return [path for path in PACKAGE.rglob("*.py") if "messages" not in path.parts]


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize(
    "path", [path for path in sources() if path.parent != PACKAGE or path.stem != "__init__"],
    ids=lambda path: str(path.relative_to(PACKAGE)),
)  # fmt: skip
def test_imports_point_down_only(path: Path) -> None:
    rooms = {
        name.split(".")[1]
        for name in imports(path)
        if name.startswith("connect.") and not name.endswith(".__version__")
    }
    assert rooms - {room(path)} <= BELOW[room(path)]


@pytest.mark.parametrize("library", ONLY_IN)
def test_asyncio_stays_behind_the_bridge(library: str) -> None:
    users = {
        str(path.relative_to(PACKAGE))
        for path in sources()
        if library in {name.split(".")[0] for name in imports(path)}
    }
    assert users <= ONLY_IN[library]


@pytest.mark.parametrize("name", FOREIGN_TO)
def test_protocol_and_config_do_no_io(name: str) -> None:
    for path in sources():
        if room(path) == name:
            assert not {module.split(".")[0] for module in imports(path)} & FOREIGN_TO[name], path


def test_every_room_has_its_place_in_the_plan() -> None:
    assert {room(path) for path in sources()} - {"__init__"} <= set(BELOW)
