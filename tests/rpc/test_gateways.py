"""The table of gateways."""

import pytest
import structlog
import trio
from trio.testing import MockClock

from connect.errors import ConnectError, StoreUnavailable
from connect.rpc.gateways import GatewayTable, LiveGateways
from connect.settings import Timing
from connect.state.commands import CommandError
from connect.state.records import GatewayStatus
from tests.rpc.fakes import NOW, FakeGateways, gateway


def table(store: FakeGateways, now: float = NOW) -> GatewayTable:
    return GatewayTable(store, timing=Timing(), now=lambda: now)


async def test_active_and_draining_gateways_are_told_apart() -> None:
    store = FakeGateways(
        [
            gateway("a"),
            gateway("d", status=GatewayStatus.DRAINING),
            gateway("s", status=GatewayStatus.STARTING),
        ]
    )
    gateways = table(store)
    await gateways.refresh()
    assert gateways.live() == LiveGateways(active=("a",), draining=("d",))


async def test_a_gateway_is_alive_for_two_heartbeat_intervals() -> None:
    gateways = table(FakeGateways([gateway("a")]), NOW + 10)
    await gateways.refresh()
    assert gateways.live().active == ("a",)


async def test_a_gateway_silent_for_longer_is_dead() -> None:
    gateways = table(FakeGateways([gateway("a")]), NOW + 10.001)
    await gateways.refresh()
    assert gateways.live().active == ()


async def test_a_gateway_is_reached_at_its_address() -> None:
    gateways = table(FakeGateways([gateway("a", ip="10.1.1.1", grpc_port=7)]))
    await gateways.refresh()
    assert gateways.address("a") == ("10.1.1.1", 7)


async def test_a_gateway_without_port_has_the_default_one() -> None:
    gateways = table(FakeGateways([gateway("a", grpc_port=0)]))
    await gateways.refresh()
    assert gateways.address("a") == ("10.0.0.1", 50052)


async def test_an_unknown_gateway_has_no_address() -> None:
    assert table(FakeGateways()).address("a") is None


async def test_the_table_is_read_again_at_its_interval(autojump_clock: MockClock) -> None:
    store = FakeGateways()
    with trio.move_on_after(3.5):
        await table(store).run()
    assert store.reads == 3


@pytest.mark.parametrize("error", [StoreUnavailable("down"), CommandError("NOPERM")])
async def test_the_last_table_outlasts_an_outage_that_is_logged_once(
    error: ConnectError, autojump_clock: MockClock
) -> None:
    store = FakeGateways([gateway("a")])
    gateways = table(store)
    await gateways.refresh()
    store.error = error
    with structlog.testing.capture_logs() as logs:
        await gateways.refresh()
        await gateways.refresh()
        assert gateways.live().active == ("a",)
        store.error = None
        await gateways.refresh()
    assert [entry["event"] for entry in logs] == [
        "gateway table not refreshed",
        "gateway table refreshed again",
    ]


async def test_the_store_is_recovering_until_a_heartbeat_of_workers_after_an_outage(
    autojump_clock: MockClock,
) -> None:
    store = FakeGateways([gateway("a")])
    gateways = table(store)
    await gateways.refresh()
    told = [gateways.recovering]
    store.error = StoreUnavailable("down")
    await gateways.refresh()
    told.append(gateways.recovering)
    store.error = None
    await gateways.refresh()
    await trio.sleep(9.9)
    told.append(gateways.recovering)
    await trio.sleep(0.2)
    told.append(gateways.recovering)
    assert told == [False, True, True, False]


async def test_looking_again_reads_at_once(autojump_clock: MockClock) -> None:
    store = FakeGateways()
    await table(store).look_again()
    assert store.reads == 1


async def test_looking_again_is_limited_in_its_rate(autojump_clock: MockClock) -> None:
    store = FakeGateways()
    gateways = table(store)
    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(gateways.look_again)
    assert store.reads == 1


async def test_looking_again_right_after_a_read_waits_a_moment_and_reads(
    autojump_clock: MockClock,
) -> None:
    store = FakeGateways()
    gateways = table(store)
    await gateways.refresh()
    started = trio.current_time()
    await gateways.look_again()
    assert store.reads == 2
    assert 0 < trio.current_time() - started <= 0.1


async def test_the_addresses_of_all_gateways_are_known() -> None:
    gateways = table(FakeGateways([gateway("a", ip="h", grpc_port=7), gateway("b", grpc_port=0)]))
    await gateways.refresh()
    assert gateways.addresses() == {("h", 7), ("10.0.0.1", 50052)}


async def test_a_gateway_that_is_left_out_is_back_after_a_second(
    autojump_clock: MockClock,
) -> None:
    gateways = table(FakeGateways([gateway("a"), gateway("b")]))
    await gateways.refresh()
    gateways.leave_out("a")
    await trio.sleep(0.9)
    await gateways.refresh()
    told = [(gateways.live().active, gateways.leaves_out)]
    await trio.sleep(0.2)
    told.append((gateways.live().active, gateways.leaves_out))
    assert told == [(("b",), True), (("a", "b"), False)]


async def test_a_gateway_that_is_gone_is_not_left_out_any_more(autojump_clock: MockClock) -> None:
    store = FakeGateways([gateway("a"), gateway("b")])
    gateways = table(store)
    await gateways.refresh()
    gateways.leave_out("a")
    await store.delete("a")
    await gateways.refresh()
    assert not gateways.leaves_out


async def test_gateways_whose_heartbeats_are_old_at_once_are_about_to_come_back(
    autojump_clock: MockClock,
) -> None:
    """The clock was set, or each of them has gone; at the next heartbeats that is known."""
    now = [NOW]
    gateways = GatewayTable(
        FakeGateways([gateway("a"), gateway("b")]), timing=Timing(), now=lambda: now[0]
    )
    await gateways.refresh()
    told = [gateways.recovering]
    now[0] += 60
    for seconds in (0, 5, 5.1):
        await trio.sleep(seconds)
        await gateways.refresh()
        told.append(gateways.recovering)
    assert told == [False, True, True, False]


async def test_one_gateway_of_two_whose_heartbeat_is_old_is_dead() -> None:
    store = FakeGateways([gateway("a"), gateway("b")])
    gateways = table(store)
    await gateways.refresh()
    store.records = [gateway("a"), gateway("b", last_heartbeat_ms=0)]
    await gateways.refresh()
    assert not gateways.recovering


async def test_old_records_of_gateways_are_no_sign_of_a_clock_that_was_set() -> None:
    gateways = table(FakeGateways([gateway("a", last_heartbeat_ms=0)]))
    await gateways.refresh()
    await gateways.refresh()
    assert not gateways.recovering
