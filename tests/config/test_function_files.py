"""Files and directories of function definitions."""

import json
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from connect.config.cue import Budget
from connect.config.cue.errors import CueError, FaultKind
from connect.config.cue.source import Source
from connect.config.function_files import (
    EvaluatedFunction,
    FoundFiles,
    FunctionFile,
    check_sources,
    evaluate_function,
    find_function_files,
    load_functions,
)
from connect.errors import ConfigurationError
from tests.config.test_loader import CASES, MANIFEST, numbers

MINIMAL = '{id: "f", name: "F", triggers: [{event: "a"}]}'


def evaluate(text: str) -> EvaluatedFunction:
    function = evaluate_function(Source("f.cue", text))
    assert function is not None
    return function


def refused(text: str) -> str:
    with pytest.raises(CueError) as error:
        evaluate(text)
    assert all(fault.spans for fault in error.value.faults)
    return str(error.value)


def write(folder: Path, **files: str) -> None:
    """Write files; in their names `__` is a slash, `_` the dot before cue or json."""
    for name, text in files.items():
        path = folder / (name.replace("__", "/").replace("_", "."))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    "case",
    [case for case in MANIFEST if case["group"] == "function"],
    ids=lambda case: case["name"],
)
def test_a_case_has_the_outcome_and_value_of_the_reference(case: dict[str, Any]) -> None:
    path = CASES / "function" / case["file"]
    text = path.read_text(encoding="utf-8")
    if case["outcome"] == "err":
        refused(text)
        return
    want = json.loads(path.with_suffix(".want.json").read_text(encoding="utf-8"), parse_float=str)
    assert numbers(evaluate(text).value) == numbers(want)


class TestEvaluation:
    def test_the_schema_reaches_what_refers_to_the_function(self) -> None:
        text = (
            'function: {id: "f", name: "F", triggers: []\n'
            "\tsteps: {a: {}, b: after: [{step: _first}]}}\n"
            "_first: function.steps.a.id"
        )
        assert evaluate(text).value["steps"]["b"]["after"] == [{"step": "a"}]

    def test_the_definitions_can_be_used_within_a_struct(self) -> None:
        text = '{id: "f", name: "F", triggers: [defs.#EventTrigger & {event: "a"}]}'
        assert evaluate(text).value["triggers"] == [{"event": "a"}]

    def test_a_document_may_declare_what_the_definitions_are_called_elsewhere(self) -> None:
        assert evaluate(f"defs: 5\nfunction: {MINIMAL}").value["id"] == "f"

    def test_a_label_in_quotes_is_the_field_too(self) -> None:
        function = evaluate_function(Source("f.cue", f'"function": {MINIMAL}'), optional=True)
        assert function is not None

    @pytest.mark.parametrize(
        ("text", "place"),
        [
            ('{id: "f", name: 5}', "f.cue:1:17: name: "),
            ('function: {id: "f", name: 5}', "f.cue:1:27: function.name: "),
            ('function: {\n\tid: "f"\n}', "f.cue:1:11: function.name: not given; "),
            ("package p\n\nfunction: id: 5", "f.cue:3:15: function.id: "),
            ('[{"id": "f"}]', "f.cue:1:1: a list; expected one function"),
            ("{", "f.cue:1:2: "),
        ],
    )
    def test_a_fault_is_told_at_its_place(self, text: str, place: str) -> None:
        assert place in refused(text)

    def test_every_fault_is_told(self) -> None:
        message = refused('{id: 5, unfit: "F", steps: a: retries: attempts: 21}')
        for path in ("id: ", "unfit: ", "steps.a.retries.attempts: ", "name: "):
            assert path in message

    def test_a_value_is_found_where_it_is_written(self) -> None:
        function = evaluate('{id: "f", name: "F", triggers: [{cron: "x"}]}')
        assert str(function.spans(("triggers", 0, "cron"))[0]) == "f.cue:1:40"

    def test_a_value_that_is_not_written_is_found_around_it(self) -> None:
        function = evaluate('{id: "f", name: "F", steps: {a: {}}}')
        assert str(function.spans(("steps", "a", "path"))[0]) == "f.cue:1:33"

    def test_a_document_without_a_function_may_be_passed_over(self) -> None:
        assert evaluate_function(Source("f.cue", "x: 1"), optional=True) is None

    def test_the_definition_is_as_json_is_decoded(self) -> None:
        text = (
            '{id: "f", name: "F", triggers: [{event: "a", definition: '
            '{format: "json-schema", synced: true, def: {maximum: 1.50, minimum: 1}}}]}'
        )
        function = evaluate(text)
        [trigger] = function.definition["triggers"]
        assert trigger["definition"]["def"] == {"maximum": 1.5, "minimum": 1}
        assert function.value["triggers"][0]["definition"]["def"]["maximum"] == Decimal("1.50")

    def test_the_budget_bounds_it(self) -> None:
        text = 'import "list"\nfunction: {id: "f", name: "F", triggers: _t}\n'
        text += '_t: [for x in list.Range(0, 2000, 1) {event: "a"}]'
        with pytest.raises(CueError) as error:
            evaluate_function(Source("f.cue", text), budget=Budget(steps=500))
        assert error.value.faults[0].kind is FaultKind.BUDGET


class TestFiles:
    def test_directories_are_taken_in_order_at_any_depth(self, tmp_path: Path) -> None:
        write(tmp_path, b_cue="", a__z_json="", a__b__c_cue="", a_cue="", a__note_md="")
        found = [
            path.relative_to(tmp_path).as_posix()
            for path, _ in find_function_files([tmp_path]).files
        ]
        assert found == ["a/b/c.cue", "a/z.json", "a.cue", "b.cue"]

    def test_hidden_and_foreign_directories_are_not_entered(self, tmp_path: Path) -> None:
        (tmp_path / ".hidden").mkdir()
        (tmp_path / ".hidden" / "a.cue").touch()
        (tmp_path / ".a.cue").touch()
        (tmp_path / "cue.mod").mkdir()
        (tmp_path / "cue.mod" / "a.cue").touch()
        write(tmp_path, node_modules__a_json="")
        (tmp_path / "node.modules").rename(tmp_path / "node_modules")
        assert find_function_files([tmp_path]) == FoundFiles(())

    def test_a_file_that_is_found_twice_is_taken_once(self, tmp_path: Path) -> None:
        write(tmp_path, a_cue="")
        assert find_function_files([tmp_path, tmp_path / "a.cue", tmp_path]).files == (
            (tmp_path / "a.cue", True),
        )

    def test_a_file_with_several_paths_is_known_by_the_first(self, tmp_path: Path) -> None:
        write(tmp_path, a_cue="", defs__b_cue="")
        (tmp_path / "defs" / "link.cue").symlink_to("../a.cue")
        around = tmp_path / "defs" / ".." / "a.cue"
        found = find_function_files([around, tmp_path / "a.cue", tmp_path / "defs"]).files
        assert found == ((around, True), (tmp_path / "defs" / "b.cue", False))

    def test_one_of_a_directory_that_is_named_by_another_path_counts_as_named(
        self, tmp_path: Path
    ) -> None:
        write(tmp_path, a_cue="")
        (tmp_path / "other.cue").symlink_to("a.cue")
        found = find_function_files([tmp_path, tmp_path / "other.cue"]).files
        assert found == ((tmp_path / "a.cue", True),)

    def test_an_empty_path_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match=r"an empty path; expected a file or a dir"):
            find_function_files([""])

    def test_a_path_that_does_not_exist_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match="there is no file or directory"):
            find_function_files([tmp_path / "no.cue"])

    def test_a_file_with_another_ending_is_an_error(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").touch()
        with pytest.raises(ConfigurationError, match=r"neither a \.cue nor a \.json file"):
            find_function_files([tmp_path / "a.txt"])

    def test_a_directory_that_cannot_be_read_is_a_fault(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def unreadable(path: object) -> object:
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr("os.scandir", unreadable)
        [fault] = find_function_files([tmp_path]).faults
        assert fault.message == "cannot be read: Permission denied"
        assert str(fault.spans[0]) == f"{tmp_path}:1:1"

    def test_a_path_that_may_not_be_looked_at_is_left_to_be_read(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def unreadable(path: object, **options: object) -> object:
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr("os.lstat", unreadable)
        assert find_function_files([tmp_path / "a.cue"]).files == ((tmp_path / "a.cue", True),)


class TestLoading:
    def test_files_become_functions(self, tmp_path: Path) -> None:
        write(tmp_path, a_cue=f"function: {MINIMAL}", b_json='{"id": "b", "name": "B"}')
        loaded = load_functions([tmp_path])
        assert [function.value["id"] for function in loaded.files] == ["f", "b"]
        assert (loaded.faults, loaded.skipped, loaded.count) == ((), (), 2)

    def test_every_fault_of_every_file_is_told_by_file(self, tmp_path: Path) -> None:
        write(
            tmp_path,
            a_cue='function: {id: "a", name: "A", triggers: [{cron: "whenever"}]}',
            b_cue="{id: 5, nme: 6}",
            c_cue='{id: "c", name: "C", steps: a: after: [{step: "b"}]}',
            d_cue="{",
            e_cue=MINIMAL,
        )
        loaded = load_functions([tmp_path])
        names = [Path(fault.spans[0].source.name).name for fault in loaded.faults]
        assert names == sorted(names)
        assert set(names) == {"a.cue", "b.cue", "c.cue", "d.cue"}
        assert [function.value["id"] for function in loaded.files] == ["f"]
        assert loaded.count == 5

    def test_a_fault_past_the_schema_has_path_and_place(self, tmp_path: Path) -> None:
        write(tmp_path, a_cue='function: {\n\tid: "a", name: "A"\n\ttriggers: [{cron: "x"}]\n}')
        [fault] = load_functions([tmp_path]).faults
        assert fault.path == ("function", "triggers", 0, "cron")
        assert str(fault.spans[0]) == f"{tmp_path}/a.cue:3:20"

    def test_an_id_that_two_files_have_is_a_fault_of_the_second(self, tmp_path: Path) -> None:
        write(tmp_path, a_cue=MINIMAL, b_cue=MINIMAL)
        [fault] = load_functions([tmp_path]).faults
        assert fault.path == ("id",)
        assert str(fault.spans[0]) == f"{tmp_path}/b.cue:1:6"

    def test_documents_without_a_function_are_passed_over_in_directories(
        self, tmp_path: Path
    ) -> None:
        write(tmp_path, a_cue="x: 1", b_cue=MINIMAL)
        loaded = load_functions([tmp_path])
        assert loaded.skipped == (f"{tmp_path}/a.cue",)
        assert loaded.count == 1

    def test_a_named_file_must_have_a_function(self, tmp_path: Path) -> None:
        write(tmp_path, a_cue="x: 1")
        assert load_functions([tmp_path / "a.cue"]).faults

    def test_json_in_a_directory_must_be_a_function(self, tmp_path: Path) -> None:
        write(tmp_path, a_json='{"x": 1}')
        assert load_functions([tmp_path]).faults

    def test_progress_is_told(self, tmp_path: Path) -> None:
        write(tmp_path, a_cue=MINIMAL, b_cue="x: 1")
        told: list[int] = []
        load_functions([tmp_path], progress=told.append)
        assert told == [1, 2]

    def test_a_named_pipe_is_a_fault_and_not_waited_for(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "a.cue")
        [fault] = load_functions([tmp_path / "a.cue"]).faults
        assert fault.message == "cannot be read: no regular file"

    def test_a_file_that_vanishes_is_a_fault_beside_the_others(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write(tmp_path, a_cue=MINIMAL, b_cue="{", c_cue=MINIMAL)
        found = find_function_files([tmp_path])
        (tmp_path / "a.cue").unlink()
        monkeypatch.setattr("connect.config.function_files.find_function_files", lambda _: found)
        loaded = load_functions([tmp_path])
        first, second = loaded.faults
        assert first.kind is FaultKind.UNREADABLE
        assert first.message == "cannot be read: No such file or directory"
        assert second.spans[0].source.name == f"{tmp_path}/b.cue"
        assert ([file.value["id"] for file in loaded.files], loaded.count) == (["f"], 3)


def test_what_is_right_by_itself_is_checked_beside_other_faults() -> None:
    text = """function: {
	id: "f", nmae: "F", triggers: [{event: "a b"}]
	steps: {one: retries: attempts: 21, two: after: [{step: "on"}]}
	cancel: [{event: "c", timeout: "soon"}]
}"""
    told = refused(text)
    assert "f.cue:2:11: function.nmae: field not allowed" in told
    assert "f.cue:2:41: function.triggers[0].event: " in told
    assert "f.cue:4:33: function.cancel[0].timeout: " in told
    assert "function.steps.one.retries.attempts: " in told
    assert "function.steps.two.after[0].step: there is no step 'on'; did you mean 'one'?" in told


def test_what_follows_from_a_fault_is_not_told() -> None:
    text = """function: {
	id: "f", name: "F", triggers: [{evnt: "a"}, {cron: "* *"}]
	steps: {one: 5, two: {after: [{step: "one"}], runtime: {type: "http"}}}
}"""
    [event, cron, step, url] = refused(text).splitlines()
    assert "function.triggers[0].evnt: " in event
    assert "function.triggers[1].cron: 2 fields" in cron
    assert "function.steps.one: " in step
    assert "function.steps.two.runtime.url: " in url


def test_a_missing_function_names_the_field_that_may_be_meant() -> None:
    told = refused('other: 1\nfunctio: {id: "f", name: "F", triggers: []}\nwrong: 1 & 2')
    assert told.startswith("f.cue:2:1: there is no field `function`; is functio meant to be it?")


@pytest.mark.parametrize("text", ['{"function": %s}', "{function: %s}", '{"function": 5}'])
def test_a_document_that_is_the_function_has_no_field_of_that_name(text: str) -> None:
    assert refused(text.replace("%s", MINIMAL)) == (
        "f.cue:1:2: function: field not allowed: function; a document that begins with { is the "
        "function itself"
    )


def test_what_else_is_wrong_beside_such_a_field_is_told_too() -> None:
    told = refused(f'{{"function": {MINIMAL}, "tirggers": [], "name": 5}}').splitlines()
    assert [line.split(": ")[1] for line in told] == ["function", "tirggers", "name"]


def test_a_document_that_cannot_be_evaluated_may_have_one() -> None:
    told = refused("x: nope")
    assert told.startswith('f.cue:1:4: x: reference "nope" not found')
    assert "there is no field" not in told


def test_a_function_that_comes_about_otherwise_is_not_missing() -> None:
    told = refused('if true {function: {name: "F", triggers: []}}')
    assert told.startswith("f.cue:")
    assert "there is no field `function`" not in told


def test_of_an_id_that_is_used_twice_both_places_are_told() -> None:
    sources = [Source(name, MINIMAL) for name in ("a.cue", "b.cue")]
    [fault] = check_sources((source, True) for source in sources).faults
    assert [str(span) for span in fault.spans] == ["b.cue:1:6", "a.cue:1:6"]


class TestKnown:
    """What was found before is told apart by its name, which no evaluation would give it."""

    KNOWN = FunctionFile(Source("f.cue", MINIMAL), {"id": "f", "name": "known", "triggers": []})

    def test_a_document_that_has_not_changed_is_not_evaluated_again(self) -> None:
        [file] = check_sources([(Source("f.cue", MINIMAL), True)], known=[self.KNOWN]).files
        assert file.value["name"] == "known"

    def test_one_that_has_changed_is(self) -> None:
        source = Source("f.cue", MINIMAL + " ")
        [file] = check_sources([(source, True)], known=[self.KNOWN]).files
        assert file.value["name"] == "F"

    def test_one_of_another_name_is(self) -> None:
        [file] = check_sources([(Source("g.cue", MINIMAL), True)], known=[self.KNOWN]).files
        assert file.value["name"] == "F"

    def test_its_id_may_still_not_be_used_twice(self) -> None:
        sources = [Source(name, MINIMAL) for name in ("f.cue", "g.cue")]
        loaded = check_sources(((source, True) for source in sources), known=[self.KNOWN])
        assert [str(span) for span in loaded.faults[0].spans] == ["g.cue:1:6", "f.cue:1:6"]

    def test_files_are_read_again_to_find_out(self, tmp_path: Path) -> None:
        write(tmp_path, f_cue=MINIMAL)
        before = load_functions([tmp_path])
        write(tmp_path, f_cue=MINIMAL.replace('"F"', '"G"'))
        [file] = load_functions([tmp_path], known=before.files).files
        assert file.value["name"] == "G"


@pytest.mark.parametrize("number", ["1e400", "-1e400", "1" + "0" * 400])
def test_a_number_that_json_readers_cannot_take_is_a_fault(number: str) -> None:
    schema = f'{{format: "cue", synced: false, def: {{g: [1, {number}]}}}}'
    text = f'{{id: "f", name: "F", triggers: [{{event: "a", definition: {schema}}}]}}'
    [fault] = check_sources([(Source("f.cue", text), True)]).faults
    assert fault.path == ("triggers", 0, "definition", "def", "g", 1)
    assert fault.message == "a number too large to express"
    assert fault.spans[0].start == text.index(number)
