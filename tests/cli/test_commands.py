"""The list of commands, and how they are found."""

import subprocess
import sys
from errno import EACCES
from pathlib import Path

import click
import pytest

from connect.cli import cli, main

COMMANDS = cli.list_commands(click.Context(cli))


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_says_of_a_command_what_it_says_itself(name: str) -> None:
    context = click.Context(cli, info_name="connect", terminal_width=300, max_content_width=300)
    command = cli.get_command(context, name)
    assert command is not None
    assert f"{name} " in cli.get_help(context)
    assert command.get_short_help_str(limit=300) in cli.get_help(context)


def test_a_narrow_terminal_cuts_what_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    context = click.Context(cli, terminal_width=60, max_content_width=60)
    assert all(len(line) <= 60 for line in cli.get_help(context).splitlines())


def test_an_unknown_command_suggests_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["confg"])
    assert ended.value.code == 2
    assert "no such command 'confg'; did you mean 'config'?" in capsys.readouterr().err


def test_help_imports_no_command() -> None:
    program = (
        "import sys; from connect.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([name for name in sys.modules if name.startswith('connect.cli.')])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert shown.stdout.splitlines()[-1] == "['connect.cli.streams']"


@pytest.mark.usefixtures("own_handlers")
@pytest.mark.parametrize(
    "arguments",
    [
        ["serve", "redis://u:hunter2@h"],
        ["serve", "--register-url=https://u:hunter2@h/?x=1"],
        ["serve", "--api-port=https://u:hunter2@h"],
        ["https://u:hunter2@h"],
        ["config", "check", "https://u:hunter2@h"],
        ["cue", "eval", "https://u:hunter2@h"],
    ],
)
def test_what_is_wrong_is_told_without_the_password_of_a_url(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    told = capsys.readouterr()
    assert ended.value.code == 2
    assert "://u:********@h" in told.err
    assert "hunter2" not in told.out + told.err


def test_a_file_that_cannot_be_written_is_told_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.cue"
    file.write_text("a:1\n", encoding="utf-8")

    def refuse(path: Path, *arguments: object, **options: object) -> int:
        raise PermissionError(EACCES, "Permission denied")

    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(SystemExit) as ended:
        main(["cue", "fmt", str(file)])
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"connect: cannot open {file}: Permission denied\n"
