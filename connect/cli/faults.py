"""How commands collect and tell what is wrong with documents, flags and variables."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from connect.errors import ConfigurationError, SeveralFaults

if TYPE_CHECKING:
    from connect.config.cue.errors import Fault

__all__ = ["CollectedFaults", "FaultyDocument", "collected_faults", "passed_over", "shown_faults"]


def passed_over(file: str) -> str:
    """Say that a file in a directory holds no function."""
    return f"{file} has no field `function` and is passed over"


def shown_faults(faults: "Sequence[Fault]") -> str:
    """Write every fault for the terminal that stderr may be."""
    from connect.config.cue.printer import render_faults

    color = sys.stderr.isatty() and "NO_COLOR" not in os.environ
    text = render_faults(faults, color=color, limit=len(faults))
    return text.rstrip("\n")


class FaultyDocument(ConfigurationError):
    """The configuration document is wrong.

    Attributes:
        faults: everything that is wrong with it, each with its place, as text for people.
        besides: what is wrong with flags and variables, a line each.
    """

    def __init__(self, faults: str, besides: Sequence[str] = ()) -> None:
        super().__init__(faults, besides)
        self.faults = faults
        self.besides = tuple(besides)

    def __str__(self) -> str:
        return "\n".join(("the configuration cannot be used", self.faults, *self.besides))


class CollectedFaults:
    """Collects what is wrong with what a service is given, to tell all of it at once."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.document: FaultyDocument | None = None

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Keep a ConfigurationError that the block raises."""
        try:
            yield
        except FaultyDocument as error:
            self.document = error
            self.lines += error.besides
        except SeveralFaults as error:
            self.lines += error.faults
        except ConfigurationError as error:
            self.lines.append(str(error))


@contextmanager
def collected_faults() -> Iterator[CollectedFaults]:
    """Collect faults for the length of the block, which raises them when it ends.

    Raises:
        FaultyDocument: the document is wrong; other faults are besides.
        SeveralFaults: there are only others.
    """
    found = CollectedFaults()
    yield found
    if found.document is not None:
        raise FaultyDocument(found.document.faults, found.lines) from found.document.__cause__
    if found.lines:
        raise SeveralFaults(found.lines)
