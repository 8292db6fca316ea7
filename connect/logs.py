"""Logging: structlog on stderr, for people or for machines."""

import logging
import sys
from typing import Literal

import structlog
import trio

__all__ = ["SparseLog", "configure_logging", "set_log_level"]


class _Logger(structlog.make_filtering_bound_logger(logging.NOTSET)):  # type: ignore[misc] # no static base
    """What every logger of the process is made of, so that their level can change."""


def configure_logging(
    *, level: str = "info", fmt: Literal["console", "json"] | str = "console"
) -> None:
    """Set up logging for the process; call once, from the command line.

    Args:
        level: least level to log: debug, info, warning or error.
        fmt: `console` for aligned, coloured (on a terminal) lines; `json` for one object
            a line.
    """
    processors: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if fmt == "json":
        processors += [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ]
    else:
        processors.append(structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()))
    structlog.configure(
        processors=processors,
        wrapper_class=_Logger,
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    # Libraries' own logs: only what matters, in the same place.
    logging.basicConfig(stream=sys.stderr, format="%(name)s: %(message)s")
    set_log_level(level)


def set_log_level(level: str) -> None:
    """Change the level of every logger there is, and of those to come.

    Args:
        level: least level to log: debug, info, warning or error.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    # Loggers keep their class for good, so that it is the class that changes: a level that
    # is off costs a call of an empty function.
    for name, method in vars(structlog.make_filtering_bound_logger(number)).items():
        if not name.startswith("__"):
            setattr(_Logger, name, method)
    logging.getLogger().setLevel(max(number, logging.WARNING))


class SparseLog:
    """Warns of what may happen very often: of each kind once in a while.

    Args:
        every: seconds between two lines of one kind (Trio clock).
    """

    def __init__(self, every: float) -> None:
        self._every = every
        self._told: dict[str, tuple[float, int]] = {}

    def warning(
        self,
        event: str,
        *,
        kind: str,
        log: structlog.typing.FilteringBoundLogger | None = None,
        **values: object,
    ) -> None:
        """Log this, with how often it was left out since the last line; or leave it out.

        Args:
            kind: what counts as the same; there are few.
            log: what to log to, with the values that are bound to it.
            values: what else is in the line.
        """
        last, unsaid = self._told.get(kind, (-float("inf"), 0))
        now = trio.current_time()
        if now - last >= self._every:
            (log or structlog.get_logger()).warning(event, **values, more=unsaid)
            self._told[kind] = (now, 0)
        else:
            self._told[kind] = (last, unsaid + 1)
