"""The documents of `cases/`, with what becomes of them."""

import json
from dataclasses import dataclass
from pathlib import Path

from connect.config.expansion import expand

__all__ = ["CASES", "Case"]

_FOLDER = Path(__file__).parent / "cases"


@dataclass(frozen=True, slots=True)
class Case:
    """A document and its outcome.

    Attributes:
        group: what it is: language, function or config.
        stage: of a document that is wrong, where it fails: load, build, validate, encode.
        text: the document; variables are filled in.
    """

    name: str
    group: str
    stage: str
    text: str


def _case(entry: dict[str, str]) -> Case:
    file = _FOLDER / entry["group"] / entry["file"]
    # Line breaks are read as they are: some cases are about them.
    text = file.read_bytes().decode("utf-8")
    if entry["group"] == "config":
        variables = file.with_suffix(".env")
        lines = variables.read_text(encoding="utf-8").splitlines() if entry["env"] else []
        text = expand(text, dict(line.split("=", 1) for line in lines)).text
    return Case(entry["name"], entry["group"], entry["stage"], text)


CASES = [
    _case(entry) for entry in json.loads((_FOLDER / "manifest.json").read_text(encoding="utf-8"))
]
