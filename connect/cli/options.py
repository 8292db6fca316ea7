"""Options that become `Settings`."""

import math
from collections.abc import Callable
from dataclasses import fields, replace
from difflib import get_close_matches
from typing import Any, TypeVar

import click

from connect.errors import ConfigurationError
from connect.settings import (
    DEVELOPMENT_ACCOUNT_ID,
    DEVELOPMENT_ENV_ID,
    KeyLayout,
    Limits,
    Listen,
    RedisSettings,
    Role,
    Settings,
    Tenant,
    Timing,
)

__all__ = ["client_options", "service_options", "settings_from"]

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


def service_options(command: F) -> F:
    """Add the options of a service to a command; `settings_from` reads them."""
    options = [
        click.option(
            "--roles",
            type=_Roles(),
            default=",".join(Role),
            show_default=True,
            envvar="CONNECT_ROLES",
            help="Parts to run in this process, separated by commas.",
        ),
        click.option(
            "--redis-url",
            envvar="CONNECT_REDIS_URL",
            help="Where state lives: redis://, redis+cluster://, redis+sentinel:// (rediss… "
            "for TLS) or unix://. "
            "Without it, state is embedded, in memory only.  [env: CONNECT_REDIS_URL]",
        ),
        click.option(
            "--key-layout",
            type=click.Choice([str(layout) for layout in KeyLayout]),
            default=str(KeyLayout.CONNECT),
            show_default=True,
            envvar="CONNECT_KEY_LAYOUT",
            help="Names of keys in Redis; `inngest` shares a Redis with that deployment.",
        ),
        click.option(
            "--host",
            default=_LISTEN.host,
            show_default=True,
            envvar="CONNECT_HOST",
            help="Address that API, gateway and RPC listen on.",
        ),
        click.option(
            "--api-port", type=_PORT, default=_LISTEN.api_port, show_default=True,
            envvar="CONNECT_API_PORT", help="HTTP: worker API, reads, invoke. 0 picks a free one.",
        ),
        click.option(
            "--gateway-port", type=_PORT, default=_LISTEN.gateway_port, show_default=True,
            envvar="CONNECT_GATEWAY_PORT", help="WebSocket connections of workers.",
        ),
        click.option(
            "--gateway-rpc-port", type=_PORT, default=_LISTEN.gateway_rpc_port, show_default=True,
            envvar="CONNECT_GATEWAY_RPC_PORT", help="gRPC: service ConnectGateway.",
        ),
        click.option(
            "--executor-rpc-port", type=_PORT, default=_LISTEN.executor_rpc_port,
            show_default=True, envvar="CONNECT_EXECUTOR_RPC_PORT",
            help="gRPC: service ConnectExecutor.",
        ),
        click.option(
            "--admin-host", default=_LISTEN.admin_host, show_default=True,
            envvar="CONNECT_ADMIN_HOST", help="Address that the admin API listens on.",
        ),
        click.option(
            "--admin-port", type=_PORT, default=_LISTEN.admin_port, show_default=True,
            envvar="CONNECT_ADMIN_PORT", help="HTTP: health, metrics, gateway status.",
        ),
        click.option(
            "--advertise-host", envvar="CONNECT_ADVERTISE_HOST",
            help="Name or address under which other processes reach this one by RPC. "
            "Found out when not given.",
        ),
        click.option(
            "--gateway-url", envvar="CONNECT_GATEWAY_URL",
            help="Public base URL of the gateway (ws:// or wss://), handed to workers. "
            "Derived from each request's Host when not given.",
        ),
        click.option(
            "--gateway-group", default="default", show_default=True,
            envvar="CONNECT_GATEWAY_GROUP", help="Group that workers know this gateway by.",
        ),
        click.option(
            "--signing-key", "signing_keys", multiple=True, envvar="CONNECT_SIGNING_KEY",
            help="Key that workers and callers must present (signkey-<env>-<hex>); may be "
            "repeated. Without any, everyone is let in: for development.  "
            "[env: CONNECT_SIGNING_KEY]",
        ),
        click.option(
            "--event-key",
            "event_keys",
            multiple=True,
            envvar="CONNECT_EVENT_KEY",
            help="Key that senders of events present (POST /e/KEY); may be repeated.  "
            "[env: CONNECT_EVENT_KEY]",
        ),
        click.option(
            "--session-secret", envvar="CONNECT_SESSION_SECRET",
            help="Secret for session tokens, shared by all processes of a deployment; "
            "needed when roles run apart.  [env: CONNECT_SESSION_SECRET]",
        ),
        click.option(
            "--account-id", type=click.UUID, default=DEVELOPMENT_ACCOUNT_ID,
            envvar="CONNECT_ACCOUNT_ID", help="The account's UUID.",
        ),
        click.option(
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
        click.option(
            "--log-level", type=click.Choice(["debug", "info", "warning", "error"]),
            default="info", show_default=True, envvar="CONNECT_LOG_LEVEL",
            help="What to log, at least.",
        ),
        click.option(
            "--log-format", type=click.Choice(["console", "json"]), default="console",
            show_default=True, envvar="CONNECT_LOG_FORMAT", help="How log lines look, on stderr.",
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


def settings_from(options: dict[str, Any]) -> Settings:
    """Build the settings that the options say.

    Raises:
        ConfigurationError: a combination or an override that cannot be.
    """
    roles = options["roles"]
    secret = options["session_secret"]
    if {Role.API, Role.GATEWAY} & roles and not {Role.API, Role.GATEWAY} <= roles and not secret:
        raise ConfigurationError(
            "API and gateway run in different processes: give both the same --session-secret"
        )
    if roles != frozenset(Role) and not options["redis_url"]:
        raise ConfigurationError(
            "roles in different processes share state: give --redis-url (or CONNECT_REDIS_URL)"
        )
    url = options["gateway_url"]
    if url is not None and not url.startswith(("ws://", "wss://")):
        raise ConfigurationError(f"--gateway-url must begin with ws:// or wss://, not {url!r}")
    settings = Settings(
        roles=roles,
        listen=Listen(
            host=options["host"],
            api_port=options["api_port"],
            gateway_port=options["gateway_port"],
            gateway_rpc_port=options["gateway_rpc_port"],
            executor_rpc_port=options["executor_rpc_port"],
            admin_host=options["admin_host"],
            admin_port=options["admin_port"],
            advertise_host=options["advertise_host"],
            gateway_url=url,
        ),
        tenant=Tenant(
            account_id=str(options["account_id"]),
            env_id=str(options["env_id"]),
            signing_keys=tuple(options["signing_keys"]),
            event_keys=tuple(options["event_keys"]),
            session_secret=secret,
        ),
        redis=RedisSettings(url=options["redis_url"], layout=KeyLayout(options["key_layout"])),
        gateway_group=options["gateway_group"],
    )
    for override in options["overrides"]:
        settings = _override(settings, override)
    return settings


def _override(settings: Settings, override: str) -> Settings:
    path, equals, value = override.partition("=")
    section, dot, name = path.partition(".")
    sections: dict[str, Timing | Limits] = {"timing": settings.timing, "limits": settings.limits}
    known = [f"{key}.{f.name}" for key, part in sections.items() for f in fields(part)]
    if not (equals and dot) or path not in known:
        near = get_close_matches(path, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else "; it is timing.NAME or limits.NAME"
        raise ConfigurationError(f"--set {override}: there is no setting {path!r}{hint}")
    part = sections[section]
    change: dict[str, Any] = {name: _value(override, value, getattr(part, name))}
    changed: dict[str, Any] = {section: replace(part, **change)}
    return replace(settings, **changed)


def _value(override: str, text: str, current: float) -> float:
    from connect.protocol.durations import parse_duration

    try:
        value = int(text) if isinstance(current, int) else parse_duration(text)
    except ValueError as error:
        what = "a whole number" if isinstance(current, int) else f"a duration such as 10s ({error})"
        raise ConfigurationError(f"--set {override}: {text!r} is not {what}") from error
    if value < 0 or not math.isfinite(value):
        raise ConfigurationError(f"--set {override}: the value must not be negative")
    return value
