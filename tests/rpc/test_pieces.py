"""Putting pieces together."""

import pytest

from connect.errors import MalformedMessage
from connect.rpc.errors import RpcError, RpcStatus
from connect.rpc.intake import Holding, Room
from connect.rpc.pieces import Pieces


def test_a_message_in_one_piece_is_complete_at_once() -> None:
    assert Pieces(10).add(1, b"whole", more=False, head="h") == ("h", b"whole")


def test_pieces_of_two_messages_may_come_in_turns() -> None:
    pieces = Pieces(10)
    assert pieces.add(1, b"a", more=True, head="first") is None
    assert pieces.add(2, b"x", more=True, head="second") is None
    assert pieces.add(1, b"b", more=False) == ("first", b"ab")
    assert pieces.add(2, b"y", more=False) == ("second", b"xy")


def test_small_and_empty_pieces_cost_no_more_than_their_bytes() -> None:
    pieces = Pieces(20_000)
    for number in range(8000):
        pieces.add(1, b"ab"[number % 2 :], more=True)
        pieces.add(1, b"", more=True)
    assert len(pieces._unfinished[1].chunks) == 2
    assert pieces.add(1, b"", more=False) == ("", b"abb" * 4000)


def test_a_message_that_becomes_too_large_is_refused_once_and_dropped() -> None:
    pieces = Pieces(3)
    pieces.add(1, b"ab", more=True)
    with pytest.raises(RpcError) as caught:
        pieces.add(1, b"cd", more=True)
    assert caught.value.status is RpcStatus.RESOURCE_EXHAUSTED
    assert pieces.add(1, b"ef", more=True) is None
    assert pieces.add(1, b"g", more=False) is None
    assert pieces.add(1, b"new", more=False) == ("", b"new")


def test_a_message_without_room_is_refused_once_and_dropped() -> None:
    room = Room(3)
    pieces = Pieces(10, Holding(room).resize)
    pieces.add(1, b"ab", more=True)
    with pytest.raises(RpcError, match="RESOURCE_EXHAUSTED: the server holds too much"):
        pieces.add(2, b"cd", more=True)
    assert pieces.add(2, b"e", more=False) is None
    assert pieces.add(1, b"c", more=False) == ("", b"abc")


def test_room_is_given_back_by_messages_that_are_complete_refused_dropped_or_forgotten() -> None:
    room = Room(100)
    pieces = Pieces(3, Holding(room).resize)
    held = []
    for number in range(4):
        pieces.add(number, b"ab", more=True)
    held.append(room.held)
    pieces.add(0, b"c", more=False)
    held.append(room.held)
    with pytest.raises(RpcError):
        pieces.add(1, b"cd", more=True)
    held.append(room.held)
    pieces.drop(2)
    held.append(room.held)
    pieces.close()
    assert [*held, room.held] == [8, 6, 4, 2, 0]


def test_a_message_too_large_in_one_piece_is_refused() -> None:
    pieces = Pieces(3)
    with pytest.raises(RpcError):
        pieces.add(1, b"abcd", more=False)
    assert pieces.add(1, b"new", more=False) == ("", b"new")


def test_a_dropped_message_starts_afresh() -> None:
    pieces = Pieces(10)
    pieces.add(1, b"old", more=True)
    pieces.drop(1)
    pieces.drop(1)
    assert pieces.add(1, b"new", more=False) == ("", b"new")


def test_too_many_unfinished_messages_are_malformed() -> None:
    pieces = Pieces(10)
    for number in range(8):
        pieces.add(number, b"a", more=True)
    with pytest.raises(MalformedMessage, match="unfinished"):
        pieces.add(8, b"a", more=True)
