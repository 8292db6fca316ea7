"""The generated messages are what scripts/generate makes of the .proto files."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def generate(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the script of a project folder, with this interpreter's tools."""
    tools = str(Path(sys.executable).parent)
    return subprocess.run(
        [sys.executable, str(root / "scripts" / "generate"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PATH": os.pathsep.join((tools, os.environ["PATH"]))},
    )


def copy_of_project(folder: Path) -> Path:
    """Copy what the script reads and writes, without a .venv."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "connect", folder / "connect", ignore=ignored)
    for name in ("scripts/generate", "docs/operations.md"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    return folder


def test_the_generated_files_are_up_to_date() -> None:
    done = generate(ROOT, "--check")
    assert done.returncode == 0, done.stderr


def test_the_check_names_the_stale_file_and_changes_nothing(tmp_path: Path) -> None:
    root = copy_of_project(tmp_path)
    stale = root / "connect/protocol/messages/connect/v1/__init__.py"
    stale.write_text("# stale\n")

    done = generate(root, "--check")

    assert done.returncode == 1
    assert "stale: connect/protocol/messages/connect/v1/__init__.py" in done.stderr
    assert stale.read_text() == "# stale\n"


def test_generating_restores_changed_files_and_removes_others(tmp_path: Path) -> None:
    root = copy_of_project(tmp_path)
    messages = root / "connect/protocol/messages"
    (messages / "connect/v1/__init__.py").unlink()
    (messages / "other.py").write_text("")

    done = generate(root)

    assert done.returncode == 0, done.stderr
    written = (messages / "connect/v1/__init__.py").read_bytes()
    assert written == (ROOT / "connect/protocol/messages/connect/v1/__init__.py").read_bytes()
    assert not (messages / "other.py").exists()


def test_a_fault_in_a_proto_file_is_told(tmp_path: Path) -> None:
    root = copy_of_project(tmp_path)
    (root / "connect/protocol/proto/connect/v1/rpc.proto").write_text("nonsense")

    done = generate(root)

    assert done.returncode == 1
    assert "connect/v1/rpc.proto" in done.stderr
