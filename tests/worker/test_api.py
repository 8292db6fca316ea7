"""The client of the worker API, where the network fails it."""

import httpx
import pytest

from connect.worker.api import WorkerApi
from connect.worker.errors import ConnectionFailed, ReplyTooLarge


async def test_a_reply_that_reaches_nobody_may_be_sent_again() -> None:
    api = WorkerApi("http://127.0.0.1:1", signing_key=None, env=None, timeout=1)

    async with api.client() as client:
        with pytest.raises(ConnectionFailed, match=r"no answer from http://127\.0\.0\.1:1"):
            await api.flush(client, b"")


def test_a_slash_after_the_url_does_not_matter() -> None:
    api = WorkerApi("https://host/base/", signing_key=None, env=None, timeout=1)

    assert api.url == "https://host/base"


@pytest.mark.parametrize("status", [401, 403, 404, 408, 429, 500, 503])
async def test_a_reply_that_something_between_turns_away_may_be_sent_again(status: int) -> None:
    api = WorkerApi("http://host", signing_key=None, env=None, timeout=1)
    answers = httpx.MockTransport(lambda request: httpx.Response(status, json={"error": "not now"}))

    async with httpx.AsyncClient(transport=answers) as client:
        with pytest.raises(ConnectionFailed, match=f"answered {status}: not now"):
            await api.flush(client, b"")


@pytest.mark.parametrize("status", [400, 422])
async def test_a_reply_that_cannot_be_taken_is_given_up(status: int) -> None:
    api = WorkerApi("http://host", signing_key=None, env=None, timeout=1)
    answers = httpx.MockTransport(lambda request: httpx.Response(status))

    async with httpx.AsyncClient(transport=answers) as client:
        assert not await api.flush(client, b"")


async def test_a_reply_that_is_too_large_is_told_as_such() -> None:
    api = WorkerApi("http://host", signing_key=None, env=None, timeout=1)
    answers = httpx.MockTransport(lambda request: httpx.Response(413, json={"error": "8 MiB"}))

    async with httpx.AsyncClient(transport=answers) as client:
        with pytest.raises(ReplyTooLarge, match="answered 413: 8 MiB"):
            await api.flush(client, b"")


async def flushed(api: WorkerApi) -> httpx.Request:
    """Flush a reply; return what the API is asked."""
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        await api.flush(client, b"")
    return asked[0]


async def test_no_connection_to_the_api_is_kept() -> None:
    api = WorkerApi("http://host", signing_key=None, env=None, timeout=1)

    assert (await flushed(api)).headers["connection"] == "close"


async def test_a_flushed_reply_says_whose_it_is_in_characters_that_a_header_may_have() -> None:
    api = WorkerApi("http://host", signing_key=None, env=None, instance_id="wörker 2", timeout=1)

    assert (await flushed(api)).headers["x-connect-instance"] == "w%C3%B6rker%202"


async def test_a_flushed_reply_of_nobody_in_particular_names_nobody() -> None:
    api = WorkerApi("http://host", signing_key=None, env=None, timeout=1)

    assert "x-connect-instance" not in (await flushed(api)).headers
