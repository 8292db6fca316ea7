"""Key names, as the shared table gives them."""

import pytest

from connect.settings import KeyLayout
from connect.state.embedded import EmbeddedCommands
from connect.state.keys import Keys, worker_hash
from connect.state.redis_store import RedisStore
from connect.state.store import Acquired
from tests.state.harness import APP, ENV, GROUP, TIMING, Harness, SettableNow


def test_keys_carry_the_literal_hash_tag_of_their_environment() -> None:
    keys = Keys()
    assert [
        keys.connections("E"),
        keys.groups("E"),
        keys.group("E", "H"),
        keys.app("E", "A"),
        keys.lease("E", "R"),
        keys.response("E", "R"),
        keys.request_worker("E", "R"),
        keys.gateways(),
    ] == [
        "{E}:conns",
        "{E}:groups",
        "{E}:group:H",
        "{E}:app:A",
        "{E}:request-lease:R",
        "{E}:buffered-response:R",
        "{E}:request-worker:R",
        "{connect}:gateways",
    ]


def test_inngest_layout_differs_in_two_templates() -> None:
    keys = Keys(KeyLayout.INNGEST)
    assert keys.group("E", "H") == "{E}:groups:H"
    assert keys.app("E", "A") == "{E}:conns_appid:A"
    assert keys.connections("E") == Keys().connections("E")


def test_worker_keys_end_in_the_workers_hash() -> None:
    keys = Keys()
    assert keys.capacity("E", "i") == "{E}:worker-capacity:" + worker_hash("i")
    assert keys.requests("E", "i") == "{E}:worker-requests-set:" + worker_hash("i")


@pytest.mark.parametrize(
    ("instance_id", "number"),
    [
        ("", 0xEF46DB3751D8E999),  # xxHash's own test values for seed 0
        ("a", 0xD24EC4F1A98C6E5B),
        ("abc", 0x44BC2CF5AD770999),
    ],
)
def test_worker_hash_is_xxh64_in_base_36(instance_id: str, number: int) -> None:
    text = worker_hash(instance_id)
    assert int(text, 36) == number
    assert text == text.lower()
    assert not text.startswith("0")


def test_worker_hash_of_zero_is_a_digit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xxhash.xxh64_intdigest", lambda data: 0)
    assert worker_hash("x") == "0"


def test_every_key_of_an_environment_has_its_tag() -> None:
    keys = Keys()
    names = [
        *keys.indexed_keys("E"),
        keys.index_prefix("E"),
        keys.ready("E", "A", "H", "G"),
        keys.full("E", "A", "H", "G"),
        keys.draining("E", "A", "H", "G"),
        keys.group_gateways("E", "A", "H"),
        keys.app_groups("E", "A"),
        keys.functions("E", "H"),
        keys.indexed_apps("E"),
        keys.indexed_groups("E"),
        keys.known("E", "A"),
        keys.workers("E"),
        keys.worker_connections("E", "I"),
        keys.busy("E"),
        keys.tombstone("E", "C"),
        keys.created("E", "H"),
        keys.apps("E"),
        keys.slugs("E"),
        keys.app_slugs("E", "A"),
    ]
    assert all(name.startswith("{E}:") for name in names)


@pytest.mark.parametrize(
    ("layout", "group_key", "app_key"),
    [
        (KeyLayout.CONNECT, f"{{{ENV}}}:group:{GROUP}", f"{{{ENV}}}:app:{APP}"),
        (KeyLayout.INNGEST, f"{{{ENV}}}:groups:{GROUP}", f"{{{ENV}}}:conns_appid:{APP}"),
    ],
)
async def test_store_routes_and_deletes_in_either_layout(
    layout: KeyLayout, group_key: str, app_key: str
) -> None:
    commands, now = EmbeddedCommands(), SettableNow()
    store = RedisStore(commands, now=now, timing=TIMING, layout=layout)
    harness = Harness(store, commands, now, Keys(layout))
    await harness.connect("c1")
    for key in (group_key, app_key):
        assert await commands.execute("SMEMBERS", key) == [b"c1"]
    assert isinstance(await harness.acquire(), Acquired)
    await store.connections.delete(ENV, "c1")
    for key in (group_key, app_key):
        assert await commands.execute("EXISTS", key) == 0
