"""Scripts, and the errors of servers."""

import hashlib
from importlib import resources

import pytest

from connect.errors import StoreUnavailable
from connect.state.commands import CommandError, load_script, reply_error
from connect.state.embedded import EmbeddedCommands

SCRIPTS = sorted(
    entry.name.removesuffix(".lua")
    for entry in resources.files("connect.state").joinpath("lua").iterdir()
)
INCLUDED = {name for name in SCRIPTS if load_script(name).text.startswith("-- Included")}


@pytest.mark.parametrize("name", [name for name in SCRIPTS if name not in INCLUDED])
def test_script_says_what_its_keys_arguments_and_results_are(name: str) -> None:
    head = load_script(name).text
    for word in ("-- KEYS: 1 ", "-- ARGV: ", "-- Returns "):
        assert word in head


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_never_asks_the_server_for_the_time(name: str) -> None:
    assert "'TIME'" not in load_script(name).text


def test_script_has_its_includes_and_the_hash_of_the_whole() -> None:
    script = load_script("extend")
    assert "local function read_lease" in script.text
    assert "-- include:" not in script.text
    assert script.sha1 == hashlib.sha1(script.text.encode()).hexdigest()


@pytest.mark.parametrize(
    "message",
    [
        "LOADING Redis is loading the dataset in memory",
        "READONLY You can't write against a read only replica.",
        "OOM command not allowed when used memory > 'maxmemory'.",
        "BUSY Redis is busy running a script.",
        "ERR Error running script (call to f_0): @user_script:1: -READONLY You can't write",
    ],
)
def test_server_that_cannot_serve_now_is_unavailable(message: str) -> None:
    assert isinstance(reply_error(message), StoreUnavailable)


@pytest.mark.parametrize(
    "message", ["ERR unknown command", "WRONGTYPE Operation against a key", "ERR: LOADING x"]
)
def test_other_errors_are_command_errors(message: str) -> None:
    error = reply_error(message)
    assert isinstance(error, CommandError)
    assert error.message == message


async def test_embedded_server_refuses_like_a_real_one() -> None:
    commands = EmbeddedCommands()
    await commands.execute("SET", "x", "text")
    with pytest.raises(CommandError):
        await commands.execute("HGET", "x", "y")
    with pytest.raises(CommandError):
        await commands.run(load_script("load"), ["x"], ["0"])
