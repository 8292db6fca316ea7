"""Options that become `Settings`, over variables and the configuration document."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from connect.cli.faults import FaultyDocument, collected_faults
from connect.errors import ConfigurationError, SeveralFaults
from connect.settings import (
    DEVELOPMENT_ACCOUNT_ID,
    DEVELOPMENT_ENV_ID,
    KeyLayout,
    Listen,
    LogFormat,
    LogLevel,
    LogSettings,
    Role,
)

if TYPE_CHECKING:
    from connect.config.cue.errors import CueError
    from connect.config.finding import Document
    from connect.config.layers import Given, Resolved
    from connect.config.loader import Loaded

__all__ = [
    "FaultyDocument",
    "ServiceSettings",
    "check_redis_url",
    "client_options",
    "configuration_warnings",
    "load_document",
    "rendered",
    "service_options",
    "service_settings",
]

F = TypeVar("F", bound=Callable[..., Any])


class _Roles(click.ParamType[frozenset[Role]]):
    name = "ROLES"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> frozenset[Role]:
        if isinstance(value, frozenset):
            return value
        roles = set()
        for name in str(value).split(","):
            try:
                roles.add(Role(name.strip()))
            except ValueError:
                known = ", ".join(Role)
                self.fail(f"{name.strip()!r} is no role; there are {known}", param, ctx)
        return frozenset(roles)


_PORT = click.IntRange(0, 65535)
_LISTEN = Listen()
_LOG = LogSettings()


class _SettingOption(click.Option):
    """A flag of a setting; the setting's variable is read with those of all others.

    So everything that is wrong with variables is told at once, also with those of settings
    that have no flag.
    """

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        return None


def _setting(*names: str, **attributes: Any) -> Callable[[F], F]:
    return click.option(*names, cls=_SettingOption, **attributes)


def service_options(command: F) -> F:
    """Add the options of a service to a command; `service_settings` reads them.

    An option whose flag is that of a setting in `connect.config.catalogue` gives that setting,
    and has the setting's variable.
    """
    options = [
        click.option(
            "--config", metavar="PATH", envvar="CONNECT_CONFIG",
            help="Configuration document, .cue or .json. Without it: ./inngest.cue, "
            "./inngest.json, /etc/inngest.cue, /etc/inngest.json, or the document in the "
            "variable INNGEST_CONFIG.  [env: CONNECT_CONFIG]",
        ),
        _setting(
            "--roles",
            type=_Roles(),
            default=",".join(Role),
            show_default=True,
            envvar="CONNECT_ROLES",
            help="Parts to run in this process, separated by commas.",
        ),
        _setting(
            "--redis-url",
            envvar="CONNECT_REDIS_URL",
            help="Where state lives: redis://, redis+cluster://, redis+sentinel:// (rediss… "
            "for TLS) or unix://. "
            "Without it, state is embedded, in memory only.  [env: CONNECT_REDIS_URL]",
        ),
        _setting(
            "--key-layout",
            type=click.Choice([str(layout) for layout in KeyLayout]),
            default=str(KeyLayout.CONNECT),
            show_default=True,
            envvar="CONNECT_KEY_LAYOUT",
            help="Names of keys in Redis; `inngest` shares a Redis with that deployment.",
        ),
        _setting(
            "--host",
            default=_LISTEN.host,
            show_default=True,
            envvar="CONNECT_HOST",
            help="Address that API, gateway and RPC listen on.",
        ),
        _setting(
            "--api-port", type=_PORT, default=_LISTEN.api_port, show_default=True,
            envvar="CONNECT_API_PORT", help="HTTP: worker API, reads, invoke. 0 picks a free one.",
        ),
        _setting(
            "--gateway-port", type=_PORT, default=_LISTEN.gateway_port, show_default=True,
            envvar="CONNECT_GATEWAY_PORT", help="WebSocket connections of workers.",
        ),
        _setting(
            "--gateway-rpc-port", type=_PORT, default=_LISTEN.gateway_rpc_port, show_default=True,
            envvar="CONNECT_GATEWAY_RPC_PORT", help="gRPC: service ConnectGateway.",
        ),
        _setting(
            "--executor-rpc-port", type=_PORT, default=_LISTEN.executor_rpc_port,
            show_default=True, envvar="CONNECT_EXECUTOR_RPC_PORT",
            help="gRPC: service ConnectExecutor.",
        ),
        _setting(
            "--admin-host", default=_LISTEN.admin_host, show_default=True,
            envvar="CONNECT_ADMIN_HOST", help="Address that the admin API listens on.",
        ),
        _setting(
            "--admin-port", type=_PORT, default=_LISTEN.admin_port, show_default=True,
            envvar="CONNECT_ADMIN_PORT", help="HTTP: health, metrics, gateway status.",
        ),
        _setting(
            "--advertise-host", envvar="CONNECT_ADVERTISE_HOST",
            help="Name or address under which other processes reach this one by RPC. "
            "Found out when not given.",
        ),
        _setting(
            "--gateway-url", envvar="CONNECT_GATEWAY_URL",
            help="Public base URL of the gateway (ws:// or wss://), handed to workers. "
            "Derived from each request's Host when not given.",
        ),
        _setting(
            "--trusted-proxy", "trusted_proxies", multiple=True, envvar="CONNECT_TRUSTED_PROXY",
            help="Address or network of a proxy before the gateway, whose X-Forwarded-For is "
            "believed; may be repeated.  [env: CONNECT_TRUSTED_PROXY]",
        ),
        _setting(
            "--gateway-group", default="default", show_default=True,
            envvar="CONNECT_GATEWAY_GROUP", help="Group that workers know this gateway by.",
        ),
        _setting(
            "--signing-key", "signing_keys", multiple=True, envvar="CONNECT_SIGNING_KEY",
            help="Key that workers and callers must present (signkey-<env>-<hex>); may be "
            "repeated. Without any, everyone is let in: for development.  "
            "[env: CONNECT_SIGNING_KEY]",
        ),
        _setting(
            "--event-key",
            "event_keys",
            multiple=True,
            envvar="CONNECT_EVENT_KEY",
            help="Key that senders of events present (POST /e/KEY); may be repeated.  "
            "[env: CONNECT_EVENT_KEY]",
        ),
        _setting(
            "--register-url", envvar="CONNECT_REGISTER_URL",
            help="Base URL of an API to register workers' apps at (POST URL/fn/register). "
            "Registered here when not given.  [env: CONNECT_REGISTER_URL]",
        ),
        _setting(
            "--session-secret", envvar="CONNECT_SESSION_SECRET",
            help="Secret for session tokens, shared by all processes of a deployment; "
            "needed when roles run apart.  [env: CONNECT_SESSION_SECRET]",
        ),
        _setting(
            "--accepted-session-secret", "accepted_session_secrets", multiple=True,
            envvar="CONNECT_ACCEPTED_SESSION_SECRET",
            help="Further secret by which session tokens may be signed, while the secret is "
            "being changed; may be repeated.  [env: CONNECT_ACCEPTED_SESSION_SECRET]",
        ),
        _setting(
            "--account-id", type=click.UUID, default=DEVELOPMENT_ACCOUNT_ID,
            envvar="CONNECT_ACCOUNT_ID", help="The account's UUID.",
        ),
        _setting(
            "--env-id", type=click.UUID, default=DEVELOPMENT_ENV_ID,
            envvar="CONNECT_ENV_ID", help="The environment's UUID.",
        ),
        click.option(
            "--set", "overrides", multiple=True, metavar="SECTION.NAME=VALUE",
            help="Set a limit or a deadline, such as timing.lease=30s or "
            "limits.message_bytes=4194304. May be repeated.",
        ),
        click.option(
            "--print-addresses", is_flag=True,
            help="Print the addresses really bound, as one line of JSON, on stdout.",
        ),
        click.option(
            "--address-file", type=click.Path(dir_okay=False, writable=True),
            help="Write that line to this file once everything listens.",
        ),
        _setting(
            "--log-level", type=click.Choice([str(level) for level in LogLevel]),
            default=str(_LOG.level), show_default=True, envvar="CONNECT_LOG_LEVEL",
            help="What to log, at least.",
        ),
        _setting(
            "--log-format", type=click.Choice([str(form) for form in LogFormat]),
            default=str(_LOG.format), show_default=True, envvar="CONNECT_LOG_FORMAT",
            help="How log lines look, on stderr.",
        ),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def client_options(command: F) -> F:
    """Add the options of a command that calls a service: ``url`` and ``signing_key``."""
    options = [
        click.option(
            "--url",
            default="http://127.0.0.1:8288",
            show_default=True,
            envvar="CONNECT_URL",
            help="Base URL of the service's API.",
        ),
        click.option(
            "--signing-key",
            envvar="CONNECT_SIGNING_KEY",
            help="Key to present, when the service asks for one.  [env: CONNECT_SIGNING_KEY]",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """What a command line, the variables and the configuration document say together.

    Attributes:
        document: the configuration document; its rule is NONE when there is none.
        resolved: the settings, each with its origin.
        warnings: what an operator should know; free of secrets.
    """

    document: "Document"
    resolved: "Resolved"
    warnings: tuple[str, ...]


def service_settings(context: click.Context) -> ServiceSettings:
    """Load the configuration and lay variables and flags over it.

    Args:
        context: of a command with `service_options`.

    Raises:
        FaultyDocument: with everything that is wrong with the document, and besides.
        SeveralFaults: files, flags, variables or combinations that cannot be.
    """
    from connect.config.finding import DocumentRule, find_document
    from connect.config.layers import check_combinations, resolve, variables

    flags: dict[str, Given] = {}
    given: dict[str, Given] = {}
    document: Document | None = None
    loaded: Loaded | None = None
    with collected_faults() as faults:
        with faults.noted():
            flags = _flags(context)
        with faults.noted():
            given = variables(os.environ)
        with faults.noted():
            document = find_document(context.params["config"], environment=os.environ)
            # Without a document there is nothing to evaluate, and starting is quicker.
            if document.rule is not DocumentRule.NONE:
                loaded = load_document(document)
    assert document is not None  # or there is a fault
    resolved = resolve(flags, given, {} if loaded is None else loaded.layer)
    with collected_faults() as faults:
        with faults.noted():
            check_redis_url(resolved)
        with faults.noted():
            check_combinations(resolved.settings)
    return ServiceSettings(document, resolved, configuration_warnings(document, loaded))


def check_redis_url(resolved: "Resolved") -> None:
    """Refuse the URL of a Redis as `serve` does when it opens it.

    Raises:
        ConfigurationError: it cannot be used; the text names where it came from.
    """
    url = resolved.settings.redis.url
    if url is None:
        return
    from connect.state.redis_url import parse_redis_url

    try:
        parse_redis_url(url)
    except ConfigurationError as error:
        raise ConfigurationError(f"{resolved.origins['redis.url']}: {error}") from error


def configuration_warnings(document: "Document", loaded: "Loaded | None") -> tuple[str, ...]:
    """Return what an operator should know of a document and the variables."""
    from connect.config.layers import unknown_variables

    found = [] if document.warning is None else [document.warning]
    found += [str(note) for note in (() if loaded is None else loaded.notes)]
    found += [
        f"there is no setting for the variable {name}; did you mean {near}?"
        for name, near in unknown_variables(os.environ).items()
    ]
    return tuple(found)


def load_document(document: "Document") -> "Loaded":
    """Evaluate and decode a configuration document.

    Raises:
        FaultyDocument: with everything that is wrong with it.
    """
    from connect.config.cue.errors import CueError
    from connect.config.loader import decode_configuration, evaluate_configuration
    from connect.state.redis_url import parse_redis_url

    try:
        evaluated = evaluate_configuration(
            document, environment=os.environ, check_url=parse_redis_url
        )
        return decode_configuration(evaluated)
    except CueError as error:
        raise FaultyDocument(rendered(error)) from error


def _flags(context: click.Context) -> dict[str, "Given"]:
    """Return the settings that the command line gives.

    Raises:
        SeveralFaults: those that cannot be.
    """
    from connect.config.catalogue import catalogue
    from connect.config.layers import Given, Origin, OriginKind, UnfitValue, overrides, typed

    by_flag = {setting.flag: setting for setting in catalogue().values()}
    flags: dict[str, Given] = {}
    faults: list[str] = []
    try:
        flags = overrides(context.params["overrides"])
    except SeveralFaults as error:
        faults += error.faults
    for parameter in context.command.params:
        setting = by_flag.get(parameter.opts[0])
        if setting is None or parameter.name is None:
            continue
        if context.get_parameter_source(parameter.name) is not ParameterSource.COMMANDLINE:
            continue
        value = context.params[parameter.name]
        if not isinstance(value, frozenset):
            try:
                value = typed(setting, list(value) if isinstance(value, tuple) else value)
            except UnfitValue as error:
                faults.append(f"{setting.flag}: {error}")
                continue
        flags[setting.path] = Given(value, Origin(OriginKind.FLAG, setting.flag))
    if faults:
        raise SeveralFaults(faults)
    return flags


def rendered(error: "CueError") -> str:
    """Write what is wrong with a document, for the terminal that stderr may be."""
    from connect.config.cue.printer import render_faults

    return render_faults(error, color=sys.stderr.isatty()).rstrip("\n")
