"""Options of a service: flags over variables over the document over defaults."""

from collections.abc import Callable
from pathlib import Path

import click
import pytest

from connect.cli.faults import FaultyDocument
from connect.cli.options import ServiceSettings, service_options, service_settings
from connect.errors import ConfigurationError, SeveralFaults
from connect.settings import KeyLayout, LogLevel, Role, Settings

Given = Callable[..., ServiceSettings]


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Given:
    """Return what a command line and variables say, in an empty directory."""
    monkeypatch.chdir(tmp_path)

    def given(*arguments: str, **environment: str) -> ServiceSettings:
        monkeypatch.setattr("os.environ", dict(environment))
        found: list[ServiceSettings] = []

        @click.command()
        @service_options
        @click.pass_context
        def command(context: click.Context, /, **_options: object) -> None:
            found.append(service_settings(context))

        command.main(list(arguments), standalone_mode=False)
        return found[0]

    return given


def test_without_anything_it_is_the_defaults(given: Given) -> None:
    assert given().resolved.settings == Settings()


def test_flags_are_settings(given: Given) -> None:
    settings = given(
        "--roles=api,gateway,executor", "--redis-url=redis://x", "--key-layout=inngest",
        "--host=::1", "--api-port=1", "--signing-key=signkey-a-01", "--signing-key=signkey-b-02",
        "--log-level=error",
        "--account-id=00000000-0000-4000-A000-000000000001", "--set=limits.run_calls=7",
        "--gateway-url=wss://x", "--session-secret=s", "--gateway-group=g",
    ).resolved.settings  # fmt: skip
    assert settings.roles == frozenset(Role)
    assert (settings.redis.url, settings.redis.layout) == ("redis://x", KeyLayout.INNGEST)
    assert (settings.listen.host, settings.listen.api_port) == ("::1", 1)
    assert settings.tenant.signing_keys == ("signkey-a-01", "signkey-b-02")
    assert settings.tenant.account_id == "00000000-0000-4000-a000-000000000001"
    assert settings.log.level is LogLevel.ERROR
    assert settings.limits.run_calls == 7
    assert settings.gateway_group == "g"


def test_variables_are_settings(given: Given) -> None:
    settings = given(
        CONNECT_SIGNING_KEY="signkey-a-01 signkey-b-02",
        CONNECT_API_PORT="1",
        CONNECT_TIMING_LEASE="1m",
    ).resolved.settings
    assert settings.tenant.signing_keys == ("signkey-a-01", "signkey-b-02")
    assert (settings.listen.api_port, settings.timing.lease) == (1, 60.0)


def test_the_document_is_found_by_flag_or_variable(given: Given) -> None:
    Path("a.cue").write_text("{eventAPI: port: 1}", encoding="utf-8")
    assert given("--config=a.cue").resolved.settings.listen.api_port == 1
    assert given(CONNECT_CONFIG="a.cue").resolved.settings.listen.api_port == 1


def test_flags_come_before_variables_before_the_document(given: Given) -> None:
    Path("inngest.cue").write_text("{eventAPI: port: 1}", encoding="utf-8")
    for arguments, environment, port, origin in (
        (["--api-port=3"], {"CONNECT_API_PORT": "2"}, 3, "--api-port"),
        ([], {"CONNECT_API_PORT": "2"}, 2, "CONNECT_API_PORT"),
        ([], {}, 1, "inngest.cue:1:18"),
    ):
        resolved = given(*arguments, **environment).resolved
        assert resolved.settings.listen.api_port == port
        assert str(resolved.origins["listen.api_port"]) == origin


def test_a_flag_with_the_defaults_value_comes_before_the_document(given: Given) -> None:
    Path("inngest.cue").write_text("{eventAPI: port: 1}", encoding="utf-8")
    assert given("--api-port=8288").resolved.settings.listen.api_port == 8288


def test_that_there_is_no_document_is_a_warning(given: Given) -> None:
    [warning] = given().warnings
    assert warning.startswith("no configuration: ")


def test_what_has_no_effect_is_a_warning(given: Given) -> None:
    [warning] = given(INNGEST_CONFIG='{queue: service: backend: "inmemory"}').warnings
    assert "queue: accepted, without effect" in warning


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gateway-url=http://x"], "--gateway-url: must begin with ws:// or wss://"),
        (["--register-url=x"], "--register-url: must be a URL such as"),
        (["--session-secret="], "--session-secret: empty; leave it out"),
        (["--set=x"], "--set x: there is no such setting"),
        (["--roles=gateway"], "--session-secret"),
        (["--redis-url=redis://u:p@h:99999"], "--redis-url: the Redis URL cannot be read"),
        (["--signing-key=hunter2"], "--signing-key: a signing key is not of the form"),
        (["--set=limits.forward_attempts=0"], "0 is too small; expected 1 or more"),
        (["--config=no.cue"], "there is no file or directory no.cue"),
    ],
)
def test_what_cannot_be_is_refused(given: Given, arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        given(*arguments)
    assert message in str(refused.value)


def test_an_unknown_role_is_wrong_usage(given: Given) -> None:
    with pytest.raises(click.BadParameter, match="'cook' is no role"):
        given("--roles=cook")


def test_a_document_with_faults_is_refused_with_its_places(given: Given) -> None:
    with pytest.raises(FaultyDocument) as refused:
        given(INNGEST_CONFIG="{eventAPI: port: 0}")
    assert str(refused.value).startswith("the configuration cannot be used\n$INNGEST_CONFIG:1:18: ")


def test_everything_that_cannot_be_is_told_at_once(given: Given) -> None:
    with pytest.raises(SeveralFaults) as refused:
        given(
            "--set=x=1", "--set=timing.lease=z", "--gateway-url=http://x", "--config=no.cue",
            CONNECT_API_PORT="x", CONNECT_ROLES="y", CONNECT_TIMING_DRAIN="z",
        )  # fmt: skip
    assert [fault.split(":")[0] for fault in refused.value.faults] == [
        "--set x",
        "--set timing.lease",
        "--gateway-url",
        "CONNECT_ROLES",
        "CONNECT_API_PORT",
        "CONNECT_TIMING_DRAIN",
        "there is no file or directory no.cue",
    ]


def test_combinations_that_cannot_be_are_told_together(given: Given) -> None:
    with pytest.raises(SeveralFaults) as refused:
        given("--roles=gateway", "--redis-url=redis://h:p", "--session-secret=s", "--host=h")
    assert len(refused.value.faults) == 1
    with pytest.raises(SeveralFaults) as refused:
        given("--roles=gateway", "--redis-url=redis://h:p")
    url, secret = refused.value.faults
    assert url.startswith("--redis-url: the Redis URL cannot be read")
    assert "--session-secret" in secret


def test_faults_of_flags_and_variables_are_told_beside_those_of_the_document(given: Given) -> None:
    with pytest.raises(FaultyDocument) as refused:
        given(
            "--set=x=1", INNGEST_CONFIG="{eventAPI: port: 0}", CONNECT_API_PORT="x"
        )  # fmt: skip
    flag, variable = refused.value.besides
    assert flag.startswith("--set x: there is no such setting")
    assert variable == "CONNECT_API_PORT: 'x' is not a whole number"
    assert str(refused.value).endswith(f"\n{flag}\n{variable}")
