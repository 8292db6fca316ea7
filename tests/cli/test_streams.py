"""The standard streams of a command, where they are not what is usual."""

import codecs
import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from connect.cli import main
from connect.cli.streams import escape_unencodable, is_of_output

FUNCTION = """function: {id: "é", name: "Größe 😀", triggers: [{event: "aé"}]}"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f.cue").write_text(FUNCTION, encoding="utf-8")
    return tmp_path


def run(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a shell, where `connect` stands for the command line."""
    root = str(Path(__file__).parents[2])
    return subprocess.run(
        ["bash", "-c", f'connect() {{ "{sys.executable}" -m connect "$@"; }}; {command}'],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | {"PYTHONPATH": root, **environment},
    )


def test_what_the_encoding_lacks_is_escaped_as_in_json() -> None:
    done = run("connect functions show f.cue --json", PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert '"Gr\\u00f6\\u00dfe \\ud83d\\ude00"' in done.stdout
    assert json.loads(done.stdout)["name"] == "Größe 😀"


@pytest.mark.parametrize("form", ["text", "mermaid", "dot"])
def test_pictures_can_be_drawn_in_any_encoding(form: str) -> None:
    done = run(f"connect functions graph f.cue --format {form}", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")


def test_half_a_character_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="utf-8"))
    escape_unencodable()
    print("é \ud800", flush=True)
    assert written.getvalue() == "é \\ud800\n".encode()


def test_the_escapes_that_somebody_has_chosen_are_kept() -> None:
    done = run("connect functions show f.cue --json", PYTHONIOENCODING="ascii:replace")
    assert '"Gr??e ?"' in done.stdout


def test_only_what_cannot_be_encoded_is_escaped() -> None:
    error = UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid")
    escape_unencodable()
    with pytest.raises(UnicodeDecodeError):
        codecs.lookup_error("connect.escape")(error)


@pytest.mark.parametrize("command", ["functions check -", "cue eval -"])
def test_a_standard_input_that_is_closed_is_told(command: str) -> None:
    done = run(f"connect {command} <&-")
    assert done.returncode == 1
    assert done.stderr.startswith("<stdin>:1:1: cannot be read: the standard input is closed\n")


def test_a_standard_output_that_is_closed_is_no_fault() -> None:
    done = run("connect functions check f.cue >&-")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("command", ["functions check f.cue", "config docs", "--help"])
def test_an_output_that_cannot_be_written_is_one_line(command: str) -> None:
    done = run(f"connect {command} >/dev/full")
    assert done.returncode == 2
    assert done.stderr == "connect: cannot write the output: No space left on device\n"


def test_so_it_is_when_that_cannot_be_told() -> None:
    assert run("connect functions check f.cue >/dev/full 2>&1").returncode == 2


@pytest.mark.parametrize("printed", ["functions check f.cue", "config docs --format json"])
def test_it_ends_quietly_where_nobody_reads(printed: str) -> None:
    done = run(f"{{ connect {printed}; echo $? >code; }} | true")
    assert done.stderr == ""
    assert Path("code").read_text() == "1\n"


def test_an_error_of_a_file_is_none_of_the_output() -> None:
    assert is_of_output(BrokenPipeError(errno.EPIPE, "Broken pipe"))
    assert not is_of_output(OSError(errno.ENOSPC, "No space left on device", "a.cue"))
    assert not is_of_output(OSError(errno.ENOENT, "No such file or directory"))
    assert not is_of_output(OSError("no regular file"))


def test_an_error_that_nobody_foresaw_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> int:
        raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")

    monkeypatch.setattr("connect.cli.cli.main", fail)
    with pytest.raises(ConnectionRefusedError):
        main(["functions", "check", "f.cue"])
