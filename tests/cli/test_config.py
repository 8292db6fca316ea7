"""``connect config``: look at, check and begin a configuration."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from connect.cli import main
from connect.config.catalogue import catalogue

Run = Callable[..., "Answer"]


@dataclass(frozen=True, slots=True)
class Answer:
    code: int
    out: str
    err: str


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in an empty directory, with only the variables given."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, **environment: str) -> Answer:
        monkeypatch.setattr("os.environ", dict(environment))
        with pytest.raises(SystemExit) as ended:
            main(["config", *arguments])
        captured = capsys.readouterr()
        code = ended.value.code
        return Answer(code if isinstance(code, int) else 1, captured.out, captured.err)

    return run


def write(text: str, name: str = "inngest.cue") -> None:
    Path(name).write_text(text, encoding="utf-8")


class TestCheck:
    def test_a_document_without_fault_is_fine(self, run: Run) -> None:
        write('{log: level: "warn", eventAPI: port: 9000}')
        assert run("check") == Answer(0, "inngest.cue: fine; settings that it gives: 2\n", "")

    def test_a_path_comes_before_the_usual_places(self, run: Run) -> None:
        write("{", "inngest.cue")
        write("{}", "own.json")
        assert run("check", "own.json").out == "own.json: fine; settings that it gives: 0\n"

    def test_the_variable_gives_a_path_too(self, run: Run) -> None:
        write("{}", "own.json")
        assert run("check", CONNECT_CONFIG="own.json").out.startswith("own.json: fine")

    def test_no_document_is_told(self, run: Run) -> None:
        answer = run("check")
        assert (answer.code, answer.out) == (0, "")
        assert answer.err.startswith("note: no configuration: none of inngest.cue, ")

    def test_the_document_may_be_in_a_variable(self, run: Run) -> None:
        answer = run("check", INNGEST_CONFIG='{"log": {"level": "warn"}}')
        assert answer.out == "$INNGEST_CONFIG: fine; settings that it gives: 1\n"

    def test_every_fault_is_told_with_its_place(self, run: Run) -> None:
        write('{\n\tlog: levle: "info"\n\teventAPI: port: 80.5\n\tcoreAPI: port: 0\n}')
        answer = run("check")
        assert answer.code == 1
        assert answer.out == ""
        assert re.search(r"inngest\.cue:2:\d+: log\.levle: ", answer.err)
        assert 'did you mean "level"?' in answer.err
        assert "inngest.cue:4:17: coreAPI.port: " in answer.err
        assert '\tlog: levle: "info"'.strip() in answer.err

    def test_what_only_decoding_refuses_is_told_with_its_place(self, run: Run) -> None:
        write("{\n\teventAPI: port: 80.5\n}")
        answer = run("check")
        assert answer.code == 1
        assert "inngest.cue:2:18: eventAPI.port: 80.5: expected a whole number" in answer.err

    def test_an_unknown_section_of_a_document_of_its_own_shape_is_told(self, run: Run) -> None:
        write('confg: log: level: "info"\nlog: level: "warn"')
        answer = run("check")
        assert answer.code == 1
        assert re.search(r"inngest\.cue:1:\d+: confg: ", answer.err)

    def test_what_has_no_effect_is_told(self, run: Run) -> None:
        write('{queue: service: backend: "inmemory"}')
        answer = run("check")
        assert answer.code == 0
        assert ": queue: accepted, without effect: " in answer.err

    def test_a_misspelt_variable_is_told(self, run: Run) -> None:
        answer = run("check", CONNECT_TIMING_LEESE="5s")
        assert (
            "note: there is no setting for the variable CONNECT_TIMING_LEESE; "
            "did you mean CONNECT_TIMING_LEASE?\n"
        ) in answer.err

    def test_what_serve_still_needs_is_told(self, run: Run) -> None:
        write('{connect: roles: ["gateway"]}')
        answer = run("check")
        assert answer.code == 0
        assert "note: as it stands, serve needs flags: API and gateway run in" in answer.err

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ('{state: service: dsn: "redis://u:p@h:99999/1"}',
             "inngest.cue:1:23: state.service.dsn: the Redis URL cannot be read; expected redis:"),
            ('{connect: redis: url: "redis://:p@h:p/0"}',
             "inngest.cue:1:23: connect.redis.url: the Redis URL cannot be read; expected redis:"),
            ('{connect: tenant: signing_keys: ["signkey-x-zz"]}',
             "inngest.cue:1:34: connect.tenant.signing_keys[0]: a signing key is not of the form "),
            ("{connect: limits: message_bytes: 5}",
             "inngest.cue:1:34: connect.limits.message_bytes: 5 is too small; expected 1024 or"),
            ('{log: level: "loud", state: service: dsn: "redis://h:p"}',
             "inngest.cue:1:43: state.service.dsn: the Redis URL cannot be read"),
            ('eventAPI: port: $UNSET', "UNSET is empty or not set"),
        ],
    )  # fmt: skip
    def test_what_serve_refuses_is_refused(self, run: Run, text: str, message: str) -> None:
        write(text)
        answer = run("check")
        assert (answer.code, answer.out) == (1, "")
        assert message in answer.err

    @pytest.mark.parametrize(
        ("name", "value", "message"),
        [
            ("CONNECT_API_PORT", "x", "'x' is not a whole number"),
            ("CONNECT_REDIS_URL", "redis://:hunter2@h:p", "the Redis URL cannot be read"),
            ("CONNECT_REGISTER_URL", "https://u:hunter2@h/?x=1", "must be a URL such as"),
        ],
    )
    def test_a_variable_that_serve_refuses_is_refused(
        self, run: Run, name: str, value: str, message: str
    ) -> None:
        write("{}")
        answer = run("check", **{name: value})
        assert (answer.code, answer.out) == (2, "")
        assert answer.err.startswith(f"connect: {name}: {message}")
        assert "hunter2" not in answer.err

    def test_every_variable_that_cannot_be_is_told(self, run: Run) -> None:
        write("{}")
        answer = run(
            "check", CONNECT_API_PORT="x", CONNECT_ROLES="y", CONNECT_TIMING_LEASE="z"
        )  # fmt: skip
        assert answer.code == 2
        assert [line.split(": ")[-2] for line in answer.err.splitlines()] == [
            "CONNECT_ROLES",
            "CONNECT_API_PORT",
            "CONNECT_TIMING_LEASE",
        ]

    @pytest.mark.parametrize("command", ["check", "show"])
    def test_faults_of_the_document_hide_none_of_variables(self, run: Run, command: str) -> None:
        write("{log: level: 5}")
        answer = run(command, CONNECT_API_PORT="x")
        assert answer.code == 1
        assert "inngest.cue:1:14: log.level: " in answer.err
        assert "CONNECT_API_PORT: 'x' is not a whole number" in answer.err

    @pytest.mark.parametrize(
        ("path", "message"),
        [("no.cue", "there is no file or directory no.cue"), ("x.yaml", "neither a .cue nor")],
    )
    def test_a_path_that_cannot_be_is_wrong_usage(self, run: Run, path: str, message: str) -> None:
        answer = run("check", path)
        assert answer.code == 2
        assert message in answer.err

    @pytest.mark.parametrize(
        "text",
        [
            '{state: service: {backend: "redis", password: 5 & "hunter2"}}',
            '{state: service: {backend: "redis", pasword: "hunter2"}}',
            '{state: service: {backend: "redis", password: "hunter2", port: "hunter2"}}',
            '{state: service: {backend: "redis", dsn: "hunter2", }}}',
            '{connect: tenant: signing_keys: "hunter2"}',
            '{connect: tenant: {session_secret: "hunter2"} & {session_secret: "x"}}',
            '{connect: redis: {url: "hunter2", layout: "hunter2"}}',
            '_x: "hunter2"\n{state: service: password: _x & 5}',
            '{state: service: {backend: "redis", password: "${PW}" & 5}}',
            '{state: service: {backend: "redis", password: ${PW}, port: "x"}}',
            '{datastore: service: {backend: "inmemory", URI: "hunter2"}}',
            '{execution: drivers: http: {signingKey: "hunter2", name: 5}}',
            '{eventstream: service: {backend: "nats", serverURL: "hunter2"}}',
            '{connect: tenant: register_url: "https://u:hunter2@h/?x=1"}',
            '{connect: listen: gateway_url: "http://u:hunter2@h"}',
            '{connect: listen: trusted_proxies: ["http://u:hunter2@h"]}',
            "{state: service: password: hunter2}",
            "{state: service: password: 12hunter2}",
            "{state: service: password: of hunter2}",
            '{state: service: session_sekret: "hunter2"}',
            '{state: service: pass: "hunter2"}',
            '{state: service: {pw: "hunter2", token: "hunter2"}}',
            '{state: service: {["password"]: "hunter2", port: "x"}}',
            '{state: service: port: "x"} // password: hunter2',
            '{state: service: dsn: "redis://u:hunter2@h:99999/1"}',
            '{connect: redis: url: "redis://:hunter2@h:p/0"}',
            '{connect: tenant: signing_keys: ["hunter2"]}',
        ],
    )
    def test_secrets_never_show(self, run: Run, text: str) -> None:
        write(text)
        answer = run("check", PW="hunter2")
        assert answer.code == 1
        assert "inngest.cue:" in answer.err
        assert "hunter2" not in answer.err + answer.out

    @pytest.mark.parametrize(
        "text",
        [
            '{state: service: host: "$REDIS_PASSWORD", log: level: "$REDIS_PASSWORD"}',
            '{connect: listen: gateway_url: "http://$REDIS_PASSWORD"}',
            '{connect: log: level: "$REDIS_PASSWORD"}',
            'let y = "hunter2"\nconfig: {connect: tenant: session_secret: y, log: level: y}',
        ],
    )
    def test_a_variable_named_like_a_secret_shows_nowhere(self, run: Run, text: str) -> None:
        write(text)
        answer = run("check", REDIS_PASSWORD="hunter2")
        assert answer.code == 1
        assert "inngest.cue:" in answer.err
        assert "hunter2" not in answer.err + answer.out


class TestShow:
    def test_every_setting_is_shown(self, run: Run) -> None:
        lines = run("show").out.splitlines()
        assert "timing.lease = 20s" in lines
        assert "limits.message_bytes = 8388608 bytes" in lines
        assert "roles = api,executor,gateway" in lines
        assert "tenant.signing_keys = none" in lines

    def test_the_document_is_shown_with_its_defaults(self, run: Run) -> None:
        write('{log: level: "warn"}')
        lines = run("show", "--origin").out.splitlines()
        begin = lines.index("# configuration: inngest.cue")
        shown = {tuple(line.rsplit("  ", 1)) for line in lines[begin + 1 :]}
        assert {(name.strip(), origin) for name, origin in shown} >= {
            ("log.level = warn", "inngest.cue:1:14"),
            ("log.format = json", "default"),
            ("eventAPI.port = 8288", "default"),
            ("execution.logOutput = false", "default"),
        }

    def test_each_value_has_its_origin(self, run: Run) -> None:
        write('{log: level: "warn", connect: timing: {lease: 1, drain: 2, write: 3}}')
        answer = run(
            "show", "--json", "--origin", "--set=timing.lease=3s", "--api-port=9",
            CONNECT_TIMING_LEASE="4s", CONNECT_TIMING_DRAIN="5s", CONNECT_HOST="::1",
        )  # fmt: skip
        settings = json.loads(answer.out)["settings"]
        assert settings["timing"]["lease"] == {"value": 3.0, "origin": "--set timing.lease"}
        assert settings["timing"]["drain"] == {"value": 5.0, "origin": "CONNECT_TIMING_DRAIN"}
        assert settings["timing"]["write"] == {"value": 3.0, "origin": "inngest.cue:1:67"}
        assert settings["timing"]["rpc"] == {"value": 5.0, "origin": "default"}
        assert settings["listen"]["host"] == {"value": "::1", "origin": "CONNECT_HOST"}
        assert settings["listen"]["api_port"] == {"value": 9, "origin": "--api-port"}
        assert settings["log"]["level"] == {"value": "warning", "origin": "inngest.cue:1:14"}

    def test_json_without_origins_has_the_values(self, run: Run) -> None:
        write('{eventAPI: port: 9000, connect: timing: drain: "1m"}')
        shown = json.loads(run("show", "--json").out)
        assert shown["document"] == "inngest.cue"
        assert shown["settings"]["listen"]["api_port"] == 9000
        assert shown["settings"]["timing"]["drain"] == 60.0
        assert shown["settings"]["roles"] == ["api", "executor", "gateway"]
        assert shown["configuration"]["eventAPI"]["port"] == 9000
        assert shown["configuration"]["connect"] == {"timing": {"drain": "1m"}}

    def test_lists_and_fractions_are_shown(self, run: Run) -> None:
        write('{connect: {roles: ["api", "gateway", "executor"], timing: drain: 1.5}}')
        shown = json.loads(run("show", "--json").out)
        assert shown["configuration"]["connect"] == {
            "roles": ["api", "gateway", "executor"],
            "timing": {"drain": 1.5},
        }
        lines = run("show").out.splitlines()
        assert "connect.roles = api,gateway,executor" in lines
        assert "connect.timing.drain = 1.5" in lines
        assert "timing.drain = 1500ms" in lines

    @pytest.mark.parametrize("form", [(), ("--json",), ("--origin",), ("--json", "--origin")])
    def test_a_url_shows_without_its_password(self, run: Run, form: tuple[str, ...]) -> None:
        write('{connect: listen: gateway_url: "wss://u:hunter2@g"}')
        answer = run("show", *form, CONNECT_REGISTER_URL="https://u:hunter2@h/api")
        assert answer.code == 0
        assert "https://u:********@h/api" in answer.out
        assert "wss://u:********@g" in answer.out
        assert "hunter2" not in answer.out

    @pytest.mark.parametrize("form", [(), ("--json",), ("--json", "--origin")])
    def test_secrets_never_show(self, run: Run, form: tuple[str, ...]) -> None:
        write(
            '{state: service: {dsn: "redis://hunter2", password: "hunter2"}\n'
            'execution: drivers: http: signingKey: "hunter2"\n'
            'connect: tenant: {event_keys: ["hunter2"], signing_keys: ["signkey-hunter2-a1"]}}'
        )
        answer = run(
            "show", *form, "--session-secret=hunter2", CONNECT_SIGNING_KEY="signkey-hunter2-a1"
        )
        assert answer.code == 0, answer.err
        assert "hunter2" not in answer.out + answer.err
        assert "********" in answer.out

    @pytest.mark.parametrize("form", [(), ("--json",), ("--json", "--origin")])
    @pytest.mark.parametrize(
        "text",
        [
            '{state: service: {backend: "redis", host: "$REDIS_PASSWORD"}}',
            '{state: service: {backend: "redis", db: $REDIS_PASSWORD}}',
            '{eventAPI: addr: "x-$REDIS_PASSWORD"}',
            '{connect: {roles: ["api", "gateway", "executor"], gateway_group: "$REDIS_PASSWORD"}}',
            'let y = "1234567"\nconfig: state: service: {password: y, host: "\\(y)-h"}',
            "config: {coreAPI: addr: connect.tenant.session_secret\n"
            'connect: tenant: session_secret: "12345" + "67"}',
        ],
    )
    def test_a_secret_shows_nowhere_else(self, run: Run, text: str, form: tuple[str, ...]) -> None:
        write(text)
        answer = run("show", *form, REDIS_PASSWORD="1234567")
        assert answer.code == 0, answer.err
        assert "1234567" not in answer.out + answer.err
        assert "********" in answer.out

    def test_a_default_that_is_the_same_text_as_a_secret_is_shown(self, run: Run) -> None:
        write('{state: service: {backend: "redis", password: "$REDIS_PASSWORD"}}')
        lines = run("show", REDIS_PASSWORD="localhost").out.splitlines()
        assert "state.service.host = localhost" in lines

    def test_a_path_may_be_given_like_any_commands(self, run: Run) -> None:
        write('{connect: gateway_group: "blue"}', "own.cue")
        assert "gateway_group = blue" in run("show", "own.cue").out
        assert "gateway_group = blue" in run("show", "--config", "own.cue").out

    def test_a_document_with_faults_is_told(self, run: Run) -> None:
        write("{log: level: 5}")
        answer = run("show")
        assert answer.code == 1
        assert "inngest.cue:1:14: log.level" in answer.err


class TestValue:
    def test_the_value_is_printed_as_it_is(self, run: Run) -> None:
        write('{"execution": {"drivers": {"http": {"signingKey": "${KEY}"}}}}', "own.json")
        answer = run("value", "own.json", KEY="signkey-prod-12345")
        assert answer.code == 0
        drivers = json.loads(answer.out)["execution"]["drivers"]
        assert drivers["http"] == {"name": "http", "signingKey": "signkey-prod-12345"}

    def test_the_value_is_that_before_decoding(self, run: Run) -> None:
        write("config: {coreAPI: port: 80.50, LOG: 1}")
        assert json.loads(run("value").out) == {"coreAPI": {"port": 80.5}, "LOG": 1}
        assert "80.50" in run("value").out

    def test_without_a_document_it_is_that_of_the_defaults(self, run: Run) -> None:
        assert json.loads(run("value").out)["eventAPI"]["port"] == 8288

    def test_faults_are_told(self, run: Run) -> None:
        write("{eventAPI: port: 0}")
        answer = run("value")
        assert answer.code == 1
        assert answer.out == ""
        assert "inngest.cue:1:18: eventAPI.port" in answer.err


class TestDocs:
    @pytest.mark.parametrize(
        ("form", "part"),
        [
            ("text", "timing.lease: duration (s), default 20s"),
            ("markdown", "| `timing.lease` | 20 s | duration (s) |"),
            ("json", '"setting": "timing.lease"'),
            ("cue", "#Connect: {"),
        ],
    )
    def test_the_reference_is_printed(self, run: Run, form: str, part: str) -> None:
        assert part in run("docs", f"--format={form}").out

    @pytest.mark.parametrize(("name", "part"), [("x.md", "| `timing"), ("x.cue", "#Connect: {")])
    def test_the_reference_is_written_into_a_file(self, run: Run, name: str, part: str) -> None:
        write("before\n// generated: begin\n// generated: end\nafter\n", name)
        assert run("docs", "--write", name).code == 0
        text = Path(name).read_text(encoding="utf-8")
        assert text.startswith("before\n// generated: begin\n")
        assert part in text
        assert text.endswith("// generated: end\nafter\n")

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("x.txt", "expected a .md or a .cue file"),
            ("no.md", "No such file"),
            ("x.md", "generated: begin"),
        ],
    )
    def test_a_file_that_cannot_be_written_is_refused(
        self, run: Run, name: str, message: str
    ) -> None:
        write("nothing\n", "x.md")
        answer = run("docs", "--write", name)
        assert answer.code == 2
        assert message in answer.err

    def test_a_file_that_is_no_text_is_refused(self, run: Run) -> None:
        Path("x.md").write_bytes(b"ab\xff")
        answer = run("docs", "--write", "x.md")
        told = "connect: --write x.md: not UTF-8 at byte 2; expected a text in UTF-8\n"
        assert (answer.code, answer.err) == (2, told)


class TestInit:
    def test_the_example_is_accepted(self, run: Run) -> None:
        assert run("init").code == 0
        assert run("check").out == "inngest.cue: fine; settings that it gives: 0\n"

    def test_the_example_may_have_another_name(self, run: Run) -> None:
        answer = run("init", "own.cue")
        assert "python -m connect config check own.cue" in answer.out
        assert Path("own.cue").exists()

    def test_every_line_of_the_example_is_right_when_uncommented(self, run: Run) -> None:
        run("init")
        example = Path("inngest.cue").read_text(encoding="utf-8")
        head, section = example.split("connect: {", 1)
        uncommented = re.sub(r"// ([a-z_]+: )(?=[\[\"\d])", r"\1", section)
        head = re.sub(
            r"// ((log|eventAPI|state): |\tbackend|\tdsn|}$)", r"\1", head, flags=re.MULTILINE
        )
        write(f"{head}connect: {{{uncommented}")
        variables = dict.fromkeys(re.findall(r"\$\{(\w+)\}", example), "x")
        variables |= {"REDIS_URL": "redis://x", "SIGNING_KEY": "signkey-x-a1"}
        answer = run("check", **variables)
        assert answer.code == 0, answer.err
        assert f"settings that it gives: {len(catalogue())}\n" in answer.out

    def test_a_file_that_exists_is_never_overwritten(self, run: Run) -> None:
        write("precious")
        answer = run("init")
        assert (answer.code, answer.err) == (
            2, "connect: inngest.cue exists and is left as it is\n",
        )  # fmt: skip
        assert Path("inngest.cue").read_text(encoding="utf-8") == "precious"

    @pytest.mark.parametrize(
        ("path", "message"),
        [("own.json", "must end in .cue"), ("no/own.cue", "cannot write no/own.cue")],
    )
    def test_a_path_that_cannot_be_written_is_refused(
        self, run: Run, path: str, message: str
    ) -> None:
        answer = run("init", path)
        assert answer.code == 2
        assert message in answer.err
