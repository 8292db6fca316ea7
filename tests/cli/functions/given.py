"""What the tests of ``connect functions`` have in common."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ORDER", "REFUND", "Answer", "Run", "refused", "write"]

Run = Callable[..., "Answer"]

ORDER = """function: {
	id:   "order"
	name: "Order"
	triggers: [
		{event: "shop/order.*", expression: "event.data.total > 0"},
		{cron: "TZ=Europe/Berlin 0 9 * * 1", jitter: "60s"},
	]
	steps: {
		reserve: runtime: {type: "http", url: "https://example.com"}
		charge: after: [{step: "reserve"}]
	}
}
"""
REFUND = '{"id": "refund", "name": "Refund", "triggers": [{"event": "shop/refund"}]}'


@dataclass(frozen=True, slots=True)
class Answer:
    code: int
    out: str
    err: str


def write(name: str, text: str) -> None:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def refused(answer: Answer) -> str:
    """What wrong usage is answered with: one line, and exit code 2."""
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.endswith("\n")
    [line] = answer.err.splitlines()
    return line
