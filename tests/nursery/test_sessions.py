"""Session tokens count in the handshake, and secrets change under open connections."""

import pytest
import trio
from trio.testing import MockClock

from connect.errors import Syscode
from connect.protocol.messages.connect import v1 as pb
from connect.protocol.tokens import SessionTokens
from tests.nursery.rig import ACCOUNT, ENV, Kind, Rig, now, open_rig

OLD = "a secret of at least thirty-two bytes"  # of the rig
NEW = "another secret of at least thirty-two bytes"


async def handshake(rig: Rig, token: str) -> tuple[int, str] | None:
    """Introduce a worker by this token; return how it is closed, None if it gets in."""
    peer = await rig.dial()
    await peer.expect(Kind.GATEWAY_HELLO)
    hello = rig.hello(auth_data=pb.AuthData(session_token=token))
    await peer.send(Kind.WORKER_CONNECT, bytes(hello))
    with trio.move_on_after(1):
        return await peer.closed()
    return None


def token_by(secret: str) -> str:
    tokens = SessionTokens(secret, lifetime=300, now=now)
    return tokens.issue(ACCOUNT, ENV, apps_per_connection=10)


REFUSED = (1008, Syscode.AUTHENTICATION_FAILED)


@pytest.mark.parametrize(("age", "closed"), [(299, None), (300, REFUSED), (3600, REFUSED)])
async def test_a_token_admits_until_it_expires(
    age: float, closed: tuple[int, str] | None, autojump_clock: MockClock
) -> None:
    async with open_rig() as rig:
        token = rig.token()
        await trio.sleep(age)
        assert await handshake(rig, token) == closed


async def test_a_connection_outlives_its_token(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        rig.nursery.start_soon(worker.keep_alive)
        await trio.sleep(3600)
        assert rig.gateway.table.get(worker.connection_id) is not None


async def test_changing_the_secret_in_order_refuses_nobody(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        for step in ((OLD, [NEW]), (NEW, [OLD])):
            rig.tokens.replace(*step)
            assert await handshake(rig, token_by(OLD)) is None
            assert await handshake(rig, token_by(NEW)) is None


async def test_the_old_secret_admits_nobody_once_it_is_let_go(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        rig.tokens.replace(NEW)
        assert await handshake(rig, token_by(OLD)) == REFUSED
        assert await handshake(rig, token_by(NEW)) is None


async def test_changing_the_secret_disconnects_nobody(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        rig.tokens.replace(NEW)
        await trio.sleep(5)
        await worker.heartbeat()
        await worker.expect(Kind.GATEWAY_HEARTBEAT)
