"""Running ``connect functions``."""

import io
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from connect.cli import main
from tests.cli.functions.given import Answer, Run


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in an empty directory."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, stdin: bytes = b"") -> Answer:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as ended:
            main(["functions", *arguments])
        captured = capsys.readouterr()
        code = ended.value.code
        return Answer(code if isinstance(code, int) else 1, captured.out, captured.err)

    return run
