"""What is logged, and that it can change while loggers are in use."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs
from trio.testing import MockClock

from connect.logs import SparseLog, configure_logging, set_log_level


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    structlog.reset_defaults()
    root.setLevel(level)
    root.handlers[:] = handlers


def make_logger() -> Any:
    configure_logging(level="warning", fmt="json")
    return structlog.get_logger().bind(part="a")


def test_what_is_below_the_level_is_left_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logger = make_logger()
    logger.info("quiet")
    logger.warning("loud")
    assert [line for line in capsys.readouterr().err.splitlines() if "quiet" in line] == []


def test_a_logger_that_is_in_use_takes_a_lower_level(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logger = make_logger()
    logger.warning("first")
    set_log_level("debug")
    logger.debug("details")
    assert '"details"' in capsys.readouterr().err


def test_a_logger_that_is_in_use_takes_a_higher_level(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logger = make_logger()
    logger.warning("first")
    set_log_level("error")
    logger.warning("second")
    logger.error("third")
    told = capsys.readouterr().err
    assert ('"first"' in told, '"second"' in told, '"third"' in told) == (True, False, True)


def test_libraries_never_tell_less_than_warnings_more() -> None:
    make_logger()
    set_log_level("debug")
    assert logging.getLogger("some.library").getEffectiveLevel() == logging.WARNING
    set_log_level("error")
    assert logging.getLogger("some.library").getEffectiveLevel() == logging.ERROR


async def test_each_kind_is_told_at_most_once_in_its_time_with_how_often_it_was_left_out(
    mock_clock: MockClock,
) -> None:
    log = SparseLog(10)
    with capture_logs() as logs:
        for moment in (0, 4, 5, 1, 10):
            mock_clock.jump(moment)
            log.warning("refused", kind="full", code="full", reason="no room")
        log.warning("refused", kind="other", code="other", reason="no key")
    assert [(line["code"], line["more"]) for line in logs] == [
        ("full", 0),
        ("full", 2),
        ("full", 0),
        ("other", 0),
    ]
