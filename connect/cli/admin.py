"""Asking maintenance APIs: where they are, what they answer, and how that can fail."""

import ipaddress
import socket
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import click

from connect.errors import ConfigurationError

if TYPE_CHECKING:
    import httpx

__all__ = ["AdminApi", "admin_option", "find_gateway", "open_admin"]

F = TypeVar("F", bound=Callable[..., Any])

_TIMEOUT = 10.0  # seconds, for one answer


def admin_option(command: F) -> F:
    """Add the option that says which maintenance API to ask: ``admin``."""
    return click.option(
        "--admin",
        default="http://127.0.0.1:8290",
        show_default=True,
        envvar="CONNECT_ADMIN_URL",
        help="Base URL of a service's admin API.  [env: CONNECT_ADMIN_URL]",
    )(command)


class AdminApi:
    """The maintenance API of one process.

    Args:
        client: an HTTP client without a base URL.
        url: the API's base URL.
    """

    def __init__(self, client: "httpx.Client", url: str) -> None:
        self.url = url.rstrip("/")
        self._client = client

    def at(self, url: str) -> "AdminApi":
        """Return the maintenance API at another URL."""
        return AdminApi(self._client, url)

    def get(
        self, path: str, query: Mapping[str, str | int] | None = None, *, having: str = ""
    ) -> dict[str, Any]:
        """Ask for something; see `ask`."""
        return self.ask("GET", path, query=query, having=having)

    def post(self, path: str, *, having: str = "") -> dict[str, Any]:
        """Ask for something to be done; see `ask`."""
        return self.ask("POST", path, having=having)

    def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int] | None = None,
        also: frozenset[int] = frozenset(),
        having: str = "",
    ) -> dict[str, Any]:
        """Make a request and return the JSON object that answers it.

        Args:
            also: statuses besides success whose answers are returned.
            having: a member by which an admin API's answer is known, if there is one.

        Raises:
            ConfigurationError: nothing answers, something else does, or the answer is
                a refusal; one line that says why.
        """
        import httpx

        try:
            response = self._client.request(
                method, f"{self.url}{path}", params=query, timeout=_TIMEOUT
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ConfigurationError(
                f"no admin API at {self.url} ({error or type(error).__name__}); is the service "
                "running, and is --admin its admin address?"
            ) from error
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise ConfigurationError(f"what answers at {self.url} is not an admin API")
        if not response.is_success and response.status_code not in also:
            reason = answer.get("error", f"status {response.status_code}")
            raise ConfigurationError(f"{self.url}{path}: {reason}")
        if having and having not in answer:
            raise ConfigurationError(f"what answers at {self.url} is not an admin API")
        return answer


def open_admin(url: str) -> AdminApi:
    """Return the maintenance API at a URL; nothing is asked yet."""
    import httpx

    return AdminApi(httpx.Client(), url)


def find_gateway(asked: AdminApi, gateway: str | None, *, hostname: str | None = None) -> AdminApi:
    """Return the maintenance API of a gateway.

    Args:
        asked: the API that knows the table of gateways.
        gateway: a URL; the id of a gateway, or the beginning of one; None for the one
            that is asked.
        hostname: name of this machine.

    Raises:
        ConfigurationError: there is no such gateway, more than one, its API cannot be
            reached from this machine, or another gateway has its address by now.
    """
    if gateway is None:
        return asked
    if not gateway:  # a variable that is not set, and no word for any gateway
        raise ConfigurationError("the gateway is empty; give an id, the beginning of one, or a URL")
    if "://" in gateway:
        return asked.at(gateway)
    known = asked.get("/gateways", having="data")["data"]
    found = [one for one in known if str(one.get("id", "")).startswith(gateway.upper())]
    if len(found) != 1:
        ids = ", ".join(str(one.get("id")) for one in found or known) or "none"
        what = "several gateways begin with" if found else "there is no gateway"
        raise ConfigurationError(f"{what} {gateway!r}; there are {ids}")
    [one] = found
    url, host = str(one.get("admin") or ""), str(one.get("hostname") or "")
    if not url:
        raise ConfigurationError(
            f"gateway {one['id']} does not say where its admin API listens; give its URL"
        )
    if _on_loopback(url) and host != (hostname or socket.gethostname()):
        raise ConfigurationError(
            f"the admin API of gateway {one['id']} listens on loopback of {host or 'its host'} "
            f"({url}): run this there, or give a URL that leads to it"
        )
    api = asked.at(url)
    # The record of a gateway that died stays until it is collected; its address may go
    # to the next one long before.
    there = api.get("/gateway").get("id")
    if there != one["id"]:
        who = there or "a process without a gateway"
        raise ConfigurationError(f"gateway {one['id']} is gone; {who} answers at its address {url}")
    return api


def _on_loopback(url: str) -> bool:
    try:
        return ipaddress.ip_address(urlsplit(url).hostname or "").is_loopback
    except ValueError:
        return False
