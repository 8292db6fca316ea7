"""The client of the worker API, where the network fails it."""

import pytest

from connect.worker.api import WorkerApi
from connect.worker.errors import ConnectionFailed


async def test_a_reply_that_reaches_nobody_may_be_sent_again() -> None:
    api = WorkerApi("http://127.0.0.1:1", signing_key=None, env=None, timeout=1)

    async with api.client() as client:
        with pytest.raises(ConnectionFailed, match=r"no answer from http://127\.0\.0\.1:1"):
            await api.flush(client, b"")


def test_a_slash_after_the_url_does_not_matter() -> None:
    api = WorkerApi("https://host/base/", signing_key=None, env=None, timeout=1)

    assert api.url == "https://host/base"
