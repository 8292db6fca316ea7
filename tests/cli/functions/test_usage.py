"""Paths and commands that cannot be."""

from pathlib import Path

import pytest

from tests.cli.functions.given import Run, refused, write


class TestUsage:
    def test_no_path_is_wrong_usage(self, run: Run) -> None:
        assert "Missing argument" in refused(run("check"))

    def test_a_path_that_is_not_there_is_told(self, run: Run) -> None:
        assert refused(run("check", "nope")) == "connect: there is no file or directory nope"

    @pytest.mark.parametrize("command", ["show", "graph", "next"])
    def test_a_file_that_is_not_there_is_told(self, command: str, run: Run) -> None:
        assert refused(run(command, "no.cue")) == "connect: there is no file or directory no.cue"

    @pytest.mark.parametrize("arguments", [["check"], ["show"], ["match", "event.json"]])
    def test_an_empty_path_is_not_the_current_directory(
        self, arguments: list[str], run: Run
    ) -> None:
        write("event.json", '{"name": "a"}')
        assert "connect: an empty path; expected a file" in refused(run(*arguments, ""))

    def test_an_event_without_a_path_is_refused(self, run: Run) -> None:
        assert refused(run("match", "", ".")) == "connect: an empty path; expected a file"

    def test_a_directory_is_no_file_to_show(self, run: Run) -> None:
        Path("defs").mkdir()
        line = refused(run("show", "defs"))
        assert line == "connect: defs is a directory; expected one .cue or .json file"

    @pytest.mark.parametrize("command", ["check", "show"])
    def test_a_file_of_another_kind_is_refused(self, command: str, run: Run) -> None:
        write("f.yaml", "")
        line = refused(run(command, "f.yaml"))
        assert line == "connect: f.yaml is neither a .cue nor a .json file"

    def test_a_directory_without_definitions_is_not_fine(self, run: Run) -> None:
        Path("defs").mkdir()
        line = refused(run("check", "defs"))
        assert line == "connect: there is no .cue or .json file in defs"

    def test_an_unknown_command_is_told(self, run: Run) -> None:
        assert "chek" in refused(run("chek"))
