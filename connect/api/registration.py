"""The way to an outer API at which workers' apps are registered."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from connect import __version__
from connect.config.credentials import masked_credentials
from connect.errors import RegistrationUnavailable

__all__ = ["RegistrationClient", "open_registration_client"]

# An answer says two ids or one error.
_LONGEST_ANSWER = 1024 * 1024


class RegistrationClient:
    """Makes ``POST {url}/fn/register`` requests.

    Args:
        client: an open HTTP client.
        url: base URL of the API, such as ``https://api.example.com``.
    """

    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        self._client = client
        self._url = f"{url.rstrip('/')}/fn/register"
        self._shown_url = masked_credentials(self._url)

    async def register(self, body: bytes, *, token: str, sdk: str, env: str) -> tuple[int, bytes]:
        """Send one registration; redirections are not followed.

        Cancelled, the API may have taken it. How long it may take is the caller's to say.

        Args:
            body: JSON.
            token: the bearer token, printable ASCII; without one, no Authorization header
                is sent.
            sdk: language and version, for a header.
            env: a branch environment's name, for a header, or "".

        Returns:
            The answer's status and body.

        Raises:
            RegistrationUnavailable: there was no answer, or one of more than 1 MiB.
        """
        headers = {"content-type": "application/json", "x-inngest-sdk": _header(sdk)}
        if token:
            headers["authorization"] = f"Bearer {token}"
        if env:
            headers["x-inngest-env"] = _header(env)
        answer = bytearray()
        try:
            async with self._client.stream(
                "POST", self._url, content=body, headers=headers
            ) as response:
                async for chunk in response.aiter_bytes():
                    # The rest of one that is too long is read, as the caller's deadline
                    # allows, and dropped: the iterator is not to be left half-way.
                    answer += chunk[: _LONGEST_ANSWER + 1 - len(answer)]
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise RegistrationUnavailable(f"no answer from {self._shown_url}: {reason}") from error
        if len(answer) > _LONGEST_ANSWER:
            raise RegistrationUnavailable(
                f"{self._shown_url} answered more than {_LONGEST_ANSWER} bytes"
            )
        return response.status_code, bytes(answer)


def _header(text: str) -> str:
    """Return what of a worker's text may stand in a header."""
    return "".join(letter for letter in text if letter.isascii() and letter.isprintable()).strip()


@asynccontextmanager
async def open_registration_client(
    url: str, *, connections: int
) -> AsyncIterator[RegistrationClient]:
    """Hold an HTTP client for the length of the block.

    Proxies are taken from the environment, as HTTP clients do.

    Args:
        url: base URL of the API.
        connections: the most to have open.
    """
    async with httpx.AsyncClient(
        timeout=None,
        headers={"user-agent": f"connect/{__version__}"},
        limits=httpx.Limits(max_connections=max(1, connections)),
        # Certificates take 20 ms to load: not for plain HTTP, which has none to check.
        verify=url.startswith("https:"),
    ) as client:
        yield RegistrationClient(client, url)
