"""Documents that name what does not exist, looked at as if such names could be anything.

A name that stands for nothing leaves a document without a value, so that nothing else in it
could be checked. With ``_``, which unifies with everything, in the place of the name, whatever
conflicts would do so whatever the name were to mean.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from connect.config.cue.errors import Fault, FaultKind
from connect.config.cue.source import Source

__all__ = ["besides", "opened"]

_UNKNOWN = re.compile(r'^reference ".*" not found')


def opened(source: Source, faults: Iterable[Fault]) -> Source | None:
    """Return a document with ``_`` in the place of the names that stand for nothing.

    Args:
        source: the document.
        faults: what is wrong with it.

    Returns:
        The document, in which everything else stands where it stood; None when no name is at
        fault.
    """
    spans = {
        fault.spans[0]
        for fault in faults
        if fault.kind is FaultKind.REFERENCE and _UNKNOWN.match(fault.message)
    }
    if not spans:
        return None
    parts: list[str] = []
    end = 0
    for span in sorted(spans, key=lambda span: span.start):
        parts += (source.text[end : span.start], "_".ljust(span.end - span.start))
        end = span.end
    return Source(source.name, "".join((*parts, source.text[end:])))


def besides(faults: Iterable[Fault], further: Iterable[Fault], source: Source) -> Iterator[Fault]:
    """Yield what else is wrong with a document.

    Args:
        faults: those that are told already.
        further: those of what `opened` returned; what is incomplete among them may only be so
            because of the names.
        source: what places in the document are to point at.
    """
    told = {(fault.path, fault.message) for fault in faults}
    for fault in further:
        if fault.kind is FaultKind.INCOMPLETE or (fault.path, fault.message) in told:
            continue
        spans = tuple(
            span._replace(source=source) if span.source.name == source.name else span
            for span in fault.spans
        )
        yield replace(fault, spans=spans)
