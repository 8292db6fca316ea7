"""Settings from flags, variables, documents and defaults."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from connect.config.catalogue import catalogue, setting_at, value_at
from connect.config.layers import (
    Given,
    Origin,
    OriginKind,
    UnfitElements,
    UnfitValue,
    check_combinations,
    overrides,
    parse_setting,
    resolve,
    typed,
    unknown_variables,
    variables,
)
from connect.errors import ConfigurationError
from connect.settings import KeyLayout, LogLevel, RedisSettings, Role, Settings, Tenant

PUBLIC_KEY = "-----BEGIN PUBLIC KEY-----\nhunter2\n-----END PUBLIC KEY-----"
FLAG = Origin(OriginKind.FLAG, "--api-port")
VARIABLE = Origin(OriginKind.VARIABLE, "CONNECT_API_PORT")
DOCUMENT = Origin(OriginKind.DOCUMENT, "inngest.cue:3:9")


def test_nothing_given_is_the_defaults() -> None:
    resolved = resolve()
    assert resolved.settings == Settings()
    assert {str(origin) for origin in resolved.origins.values()} == {"default"}


def test_the_strongest_layer_wins() -> None:
    port = "listen.api_port"
    layers = [
        {port: Given(number, origin)}
        for number, origin in ((1, FLAG), (2, VARIABLE), (3, DOCUMENT))
    ]
    for weaker in range(3):
        resolved = resolve(*layers[weaker:])
        assert resolved.settings.listen.api_port == weaker + 1
        assert resolved.origins[port] == (FLAG, VARIABLE, DOCUMENT)[weaker]


def test_a_setting_left_out_comes_from_a_weaker_layer() -> None:
    resolved = resolve({"timing.lease": Given(1.0, FLAG)}, {"timing.drain": Given(2.0, DOCUMENT)})
    assert (resolved.settings.timing.lease, resolved.settings.timing.drain) == (1.0, 2.0)
    assert resolved.settings.timing.write == Settings().timing.write


def test_settings_outside_sections_are_resolved_too() -> None:
    resolved = resolve({"gateway_group": Given("blue", FLAG)})
    assert resolved.settings.gateway_group == "blue"


@pytest.mark.parametrize(
    ("path", "text", "value"),
    [
        ("roles", "api,gateway", frozenset({Role.API, Role.GATEWAY})),
        ("roles", "api gateway", frozenset({Role.API, Role.GATEWAY})),
        ("listen.api_port", "0", 0),
        ("listen.host", "::", "::"),
        ("tenant.env_id", "00000000-0000-4000-B000-000000000001",
         "00000000-0000-4000-b000-000000000001"),
        ("tenant.signing_keys", "signkey-a-01 signkey-b-02", ("signkey-a-01", "signkey-b-02")),
        ("tenant.session_secret", "s", "s"),
        ("redis.layout", "inngest", KeyLayout.INNGEST),
        ("log.level", "warning", LogLevel.WARNING),
        ("timing.lease", "1m30s", 90.0),
        ("timing.heartbeat_misses", "3", 3),
        ("limits.run_calls", "10", 10),
    ],
)  # fmt: skip
def test_a_setting_is_read_from_text(path: str, text: str, value: Any) -> None:
    assert parse_setting(setting_at(path), text) == value


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("roles", "", "expected a list of gateway or api or executor"),
        ("roles", "api,cook", "'cook'; expected gateway or api or executor"),
        ("roles", "gatewy", "did you mean gateway?"),
        ("listen.api_port", "eighty", "'eighty' is not a whole number"),
        ("listen.api_port", "65536", "65536 is more than 65535"),
        ("listen.gateway_url", "http://x", "must begin with ws:// or wss://, not 'http://x'"),
        ("listen.trusted_proxies", "10.0.0.0/8 proxy", "'proxy' is neither an address nor"),
        ("tenant.register_url", "x.example.com", "a URL such as https://api.example.com"),
        ("tenant.register_url", "http://[x", "a URL such as https://api.example.com"),
        ("tenant.register_url", "http://x/?y", "a URL such as https://api.example.com"),
        ("tenant.env_id", "prod", "'prod' is not a UUID"),
        ("redis.layout", "connct", "'connct'; expected connect or inngest; did you mean connect?"),
        ("timing.lease", "soon", "'soon' is not a duration such as 10s"),
        ("timing.lease", "-1s", "must not be negative"),
        ("limits.run_calls", "-1", "must not be negative"),
        ("limits.run_calls", "1.5", "'1.5' is not a whole number"),
        ("limits.forward_attempts", "0", "0 is too small; expected 1 or more"),
        ("limits.message_bytes", "5", "5 is too small; expected 1024 or more"),
        ("timing.heartbeat_misses", "0", "0 is too small; expected 1 or more"),
        ("tenant.signing_keys", "hunter2", "not of the form signkey-<env>-<hex digits>"),
        ("tenant.signing_keys", "signkey-x-zz", "not of the form signkey-<env>-<hex digits>"),
        ("tenant.signing_keys", "abcd", "a signing key lacks its prefix"),
        ("tenant.session_secret", PUBLIC_KEY, "is an asymmetric key"),
        ("tenant.accepted_session_secrets", "ssh-rsa", "is an asymmetric key"),
    ],
)
def test_a_text_that_does_not_fit_is_refused(path: str, text: str, message: str) -> None:
    with pytest.raises(UnfitValue) as refused:
        parse_setting(setting_at(path), text)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("path", "given", "value"),
    [
        ("timing.lease", "20s", 20.0),
        ("timing.lease", 20, 20.0),
        ("timing.lease", Decimal("0.5"), 0.5),
        ("limits.run_calls", 3, 3),
        ("tenant.event_keys", ["a"], ("a",)),
        ("listen.trusted_proxies", ["10.0.0.0/8", "::1"], ("10.0.0.0/8", "::1")),
        ("roles", ["api"], frozenset({Role.API})),
    ],
)
def test_a_setting_takes_a_documents_value(path: str, given: Any, value: Any) -> None:
    assert typed(setting_at(path), given) == value


@pytest.mark.parametrize(
    ("path", "given", "message"),
    [
        ("timing.lease", "20", "no unit after 20"),
        ("timing.lease", True, "a duration such as 10s, or a number of seconds"),
        ("timing.lease", -1, "must not be negative"),
        ("timing.lease", Decimal("1e400"), "longer than 292 years"),
        ("limits.run_calls", Decimal("1.5"), "1.5 is not a whole number"),
        ("limits.run_calls", True, "True is not a whole number"),
        ("tenant.event_keys", "a", "expected a list of strings"),
        ("tenant.event_keys", [1], "expected a string"),
        ("tenant.event_keys", [""], "empty; leave it out"),
        ("redis.url", "", "empty; leave it out"),
        ("listen.host", "", "empty; leave it out for 0.0.0.0 (is a variable not set?)"),
        ("listen.admin_host", "", "empty; leave it out for 127.0.0.1 (is a variable not set?)"),
        ("listen.host", 1, "expected a string"),
        ("roles", "api", "expected a list of"),
    ],
)
def test_a_documents_value_that_does_not_fit_is_refused(
    path: str, given: Any, message: str
) -> None:
    with pytest.raises(UnfitValue) as refused:
        typed(setting_at(path), given)
    assert message in str(refused.value)


def test_true_and_false_are_read() -> None:
    setting = replace(setting_at("listen.host"), type=_flag_type())
    assert parse_setting(setting, "Yes") is True
    assert parse_setting(setting, "0") is False
    assert typed(setting, True) is True


@pytest.mark.parametrize("text", ["maybe", ""])
def test_what_is_neither_true_nor_false_is_refused(text: str) -> None:
    setting = replace(setting_at("listen.host"), type=_flag_type())
    with pytest.raises(UnfitValue, match="neither true nor false"):
        parse_setting(setting, text)
    with pytest.raises(UnfitValue, match="expected true or false"):
        typed(setting, text)


def _flag_type() -> Any:
    from connect.config.catalogue import SettingType

    return SettingType.FLAG


def test_variables_give_settings_with_their_names() -> None:
    layer = variables({"CONNECT_TIMING_LEASE": "5s", "CONNECT_ROLES": "api", "OTHER": "x"})
    assert {path: given.value for path, given in layer.items()} == {
        "roles": frozenset({Role.API}),
        "timing.lease": 5.0,
    }
    assert str(layer["timing.lease"].origin) == "CONNECT_TIMING_LEASE"


def test_the_elements_that_do_not_fit_are_told_by_number() -> None:
    with pytest.raises(UnfitElements) as refused:
        parse_setting(setting_at("listen.trusted_proxies"), "x 10.0.0.1 y")
    expected = "is neither an address nor a network such as 10.0.0.0/8"
    assert str(refused.value) == f"element 1: 'x' {expected}; element 3: 'y' {expected}"


def test_the_only_element_needs_no_number() -> None:
    with pytest.raises(UnfitElements, match=r"^'x' is neither"):
        parse_setting(setting_at("listen.trusted_proxies"), "x")


def test_an_empty_variable_counts_as_unset() -> None:
    assert variables({"CONNECT_TIMING_LEASE": ""}) == {}


def test_a_variable_that_does_not_fit_is_named() -> None:
    with pytest.raises(ConfigurationError, match="CONNECT_API_PORT: 'x' is not a whole number"):
        variables({"CONNECT_API_PORT": "x"})


def test_a_misspelt_variable_is_found() -> None:
    environment = {"CONNECT_TIMING_LEESE": "5s", "CONNECT_TIMING_LEASE": "5s", "CONNECT_X": "y"}
    assert unknown_variables(environment) == {"CONNECT_TIMING_LEESE": "CONNECT_TIMING_LEASE"}


def test_overrides_give_settings_with_their_flags() -> None:
    layer = overrides(("timing.lease=5s", "limits.run_calls=7", "timing.lease=6s"))
    assert {path: given.value for path, given in layer.items()} == {
        "timing.lease": 6.0,
        "limits.run_calls": 7,
    }
    assert str(layer["limits.run_calls"].origin) == "--set limits.run_calls"


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("timing.lease", "--set timing.lease: there is no value; expected timing.lease=VALUE"),
        ("timing.leese=3s", "--set timing.leese: there is no such setting; "
         "did you mean timing.lease?"),
        ("roles=api", "it is timing.NAME or limits.NAME"),
        ("timing.lease=soon", "--set timing.lease: 'soon' is not a duration"),
    ],
)  # fmt: skip
def test_an_override_that_cannot_be_is_refused(assignment: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        overrides((assignment,))
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (Settings(roles=frozenset({Role.GATEWAY})), "--session-secret"),
        (
            Settings(roles=frozenset({Role.GATEWAY}), tenant=Tenant(session_secret="s")),
            "--redis-url",
        ),
        (Settings(roles=frozenset({Role.EXECUTOR})), "--redis-url"),
    ],
)
def test_roles_apart_need_what_they_share(settings: Settings, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        check_combinations(settings)


def test_roles_apart_with_what_they_share_are_fine() -> None:
    check_combinations(
        Settings(
            roles=frozenset({Role.GATEWAY}),
            tenant=Tenant(session_secret="s"),
            redis=RedisSettings(url="redis://x"),
        )
    )


def test_the_value_of_a_setting_is_found_by_its_path() -> None:
    assert value_at(Settings(), "timing.lease") == 20.0
    assert value_at(Settings(), "gateway_group") == "default"


@pytest.mark.parametrize("path", ["limits.flaps", "limits.drain_rate", "timing.draining_attempts"])
def test_a_number_whose_zero_has_a_meaning_may_be_zero(path: str) -> None:
    assert parse_setting(setting_at(path), "0") == 0


def test_every_default_is_a_value_that_is_taken() -> None:
    for setting in catalogue().values():
        if isinstance(setting.default, int):
            assert typed(setting, setting.default) == setting.default


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("tenant.register_url", "https://u:hunter2@h/?x=1"),
        ("listen.gateway_url", "http://u:hunter2@h"),
        ("listen.gateway_url", "http://u:hun'hunter2@h"),
        ("listen.gateway_url", "http://u:pa/hunter2@h"),
        ("listen.gateway_url", "http://hunter2@h"),
        ("listen.gateway_url", "http://h/?token=hunter2"),
        ("listen.trusted_proxies", "https://u:hunter2@h"),
        ("timing.lease", "https://u:hunter2@h"),
        ("limits.flaps", "https://u:hunter2@h"),
        ("log.level", "https://u:hunter2@h"),
        ("tenant.signing_keys", "hunter2"),
        ("tenant.session_secret", PUBLIC_KEY),
    ],
)
def test_what_is_refused_does_not_show_credentials(path: str, value: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        variables({setting_at(path).variable: value})
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "assignment", ["tenant.session_secret=hunter2", "timing.lease=https://u:hunter2@h"]
)
def test_an_override_that_is_refused_does_not_show_credentials(assignment: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        overrides((assignment,))
    assert "hunter2" not in str(refused.value)
