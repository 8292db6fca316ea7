"""What a connection keeps while its worker has nothing to do; `scripts/soak` measures it."""

import gc

import h11
from trio.testing import MockClock

from tests.nursery.rig import open_rig


def upgrades_kept() -> int:
    """Count the parsers of upgrade requests that something still refers to."""
    gc.collect()
    parsers = [each for each in gc.get_objects() if isinstance(each, h11.Connection)]
    return sum(each.our_role is h11.SERVER for each in parsers)


async def test_an_accepted_socket_keeps_nothing_of_its_upgrade(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        before = upgrades_kept()
        for number in range(3):
            await rig.worker(instance_id=f"worker-{number}")
        assert upgrades_kept() == before


async def test_a_connection_keeps_its_attributes_without_a_dictionary(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        peer = await rig.worker()
        connection = rig.gateway.table.get(peer.connection_id)
        assert connection is not None
        assert not hasattr(connection, "__dict__")
