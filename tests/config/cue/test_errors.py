"""Whole texts of what is told about wrong documents."""

from connect.config.cue import Source, compile_document, compile_package
from connect.config.cue.printer import render_faults

DEFINITIONS = """\
#Service: {
	name:  string
	port:  int & >0 & <=65535 | *80
	kind:  "web" | "worker"
	dsn?:  string
}
"""


def report(text: str) -> str:
    packages = {"example.com/defs": compile_package(Source("defs.cue", DEFINITIONS), "defs")}
    header = 'import "example.com/defs"\n'
    value = compile_document(
        Source("service.cue", header + text),
        packages=packages,
        redact=lambda path: path[-1:] == ("dsn",),
    )
    return render_faults(value.faults())


def test_a_misspelt_field_and_a_missing_one() -> None:
    assert report('a: defs.#Service & {nane: "x", kind: "web"}\n') == (
        "service.cue:2:4: a.name: incomplete value string: expected a concrete string\n"
        '  2 | a: defs.#Service & {nane: "x", kind: "web"}\n'
        "    |    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^\n"
        "  and here: defs.cue:2:9\n"
        "  2 |     name:  string\n"
        "    |            ^^^^^^\n"
        'service.cue:2:21: a.nane: field not allowed: nane; did you mean "name"?\n'
        '  2 | a: defs.#Service & {nane: "x", kind: "web"}\n'
        "    |                     ^^^^\n"
        "2 faults in 1 file\n"
    )


def test_choices_that_nothing_fits() -> None:
    text = 'a: defs.#Service & {\n\tname: "x"\n\tport: 70000\n\tkind: "job"\n}\n'
    assert report(text) == (
        "service.cue:4:8: a.port: none of 2 alternatives fits:\n"
        "      invalid value 70000 (out of bound <=65535)\n"
        "      conflicting values 70000 and 80\n"
        "  4 |     port: 70000\n"
        "    |           ^^^^^\n"
        "  and here: defs.cue:3:20\n"
        "  3 |     port:  int & >0 & <=65535 | *80\n"
        "    |                       ^^^^^^^\n"
        "  and here: defs.cue:3:31\n"
        "  3 |     port:  int & >0 & <=65535 | *80\n"
        "    |                                  ^^\n"
        "service.cue:5:8: a.kind: none of 2 alternatives fits:\n"
        '      conflicting values "job" and "web"\n'
        '      conflicting values "job" and "worker"\n'
        '  5 |     kind: "job"\n'
        "    |           ^^^^^\n"
        "  and here: defs.cue:4:9\n"
        '  4 |     kind:  "web" | "worker"\n'
        "    |            ^^^^^\n"
        "  and here: defs.cue:4:17\n"
        '  4 |     kind:  "web" | "worker"\n'
        "    |                    ^^^^^^^^\n"
        "2 faults in 1 file\n"
    )


def test_a_secret_in_a_conflict() -> None:
    text = 'a: defs.#Service & {name: "x", kind: "web"}\na: dsn: "redis://u:pw@h"\na: dsn: 5\n'
    (first, *_) = report(text).splitlines()
    assert first == (
        "service.cue:4:9: a.dsn: conflicting values … and … (mismatched types string and int)"
    )


def test_both_sides_of_a_conflict_and_what_comes_of_it() -> None:
    assert report('a: 1\na: "x"\nb: a + 1\nc: [1, 2][2]\n') == (
        'service.cue:3:4: a: conflicting values 1 and "x" (mismatched types int and string)\n'
        '  3 | a: "x"\n'
        "    |    ^^^\n"
        "  and here: service.cue:2:4\n"
        "  2 | a: 1\n"
        "    |    ^\n"
        "service.cue:5:11: c: index out of range [2] with length 2\n"
        "  5 | c: [1, 2][2]\n"
        "    |           ^\n"
        "2 faults in 1 file\n"
    )
