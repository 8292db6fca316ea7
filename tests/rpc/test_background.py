"""Contexts whose bodies raise what they raise."""

import pytest
import trio
import trio.testing

from connect.rpc.background import open_background


async def test_tasks_in_the_background_end_with_the_body() -> None:
    async with open_background() as nursery:
        nursery.start_soon(trio.sleep_forever)


async def test_an_exception_of_the_body_comes_out_as_it_is() -> None:
    async def failing_body() -> None:
        async with open_background() as nursery:
            nursery.start_soon(trio.sleep_forever)
            raise KeyError

    with pytest.raises(KeyError):
        await failing_body()


async def test_a_task_that_fails_ends_the_body() -> None:
    async def fail() -> None:
        raise KeyError

    async def body() -> None:
        async with open_background() as nursery:
            nursery.start_soon(fail)
            await trio.sleep_forever()

    with pytest.raises(ExceptionGroup) as caught:
        await body()
    assert isinstance(caught.value.exceptions[0], KeyError)


async def test_neither_of_two_exceptions_is_lost() -> None:
    async def fail_when_cancelled() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise KeyError

    async def body() -> None:
        async with open_background() as nursery:
            nursery.start_soon(fail_when_cancelled)
            await trio.testing.wait_all_tasks_blocked()
            raise ValueError

    with pytest.raises(ExceptionGroup) as caught:
        await body()
    assert caught.group_contains(KeyError)
    assert caught.group_contains(ValueError)
