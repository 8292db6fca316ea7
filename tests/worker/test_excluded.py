"""Which gateways a worker avoids, and for how long."""

from connect.worker.excluded import ExcludedGateways


def test_a_group_that_failed_is_avoided() -> None:
    excluded = ExcludedGateways(60)
    excluded.add("b", 0)
    excluded.add("a", 10)

    assert excluded.current(59) == ["a", "b"]


def test_a_group_is_forgiven_after_a_while() -> None:
    excluded = ExcludedGateways(60)
    excluded.add("b", 0)
    excluded.add("a", 10)

    assert excluded.current(60) == ["a"]


def test_a_group_that_fails_again_is_avoided_for_longer() -> None:
    excluded = ExcludedGateways(60)
    excluded.add("a", 0)
    excluded.add("a", 30)

    assert excluded.current(80) == ["a"]


def test_a_gateway_without_a_group_cannot_be_avoided() -> None:
    excluded = ExcludedGateways(60)
    excluded.add("", 0)

    assert excluded.current(1) == []


def test_of_too_many_groups_the_first_are_forgiven() -> None:
    excluded = ExcludedGateways(60)
    for number in range(66):
        excluded.add(f"g{number:02}", 0)

    avoided = excluded.current(1)
    assert (len(avoided), avoided[0]) == (64, "g02")


def test_a_group_that_asked_to_wait_is_not_come_to_before() -> None:
    excluded = ExcludedGateways(60)
    excluded.add("a", 10, wait=5)

    assert excluded.not_before("a") == 15


def test_other_groups_may_be_come_to_at_any_time() -> None:
    excluded = ExcludedGateways(60)
    excluded.add("a", 10, wait=5)

    assert excluded.not_before("b") < 0


def test_a_group_that_fails_without_a_wish_may_be_come_to_again_at_once() -> None:
    excluded = ExcludedGateways(60)
    excluded.add("a", 10, wait=50)
    excluded.add("a", 20)

    assert excluded.not_before("a") == 20
