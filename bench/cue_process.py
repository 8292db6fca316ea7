"""The process that evaluates a definition again and again: ``python -m bench.cue_process``."""

import argparse
import time
from pathlib import Path

from bench.child import prepare_child, tell
from connect.config.cue.source import Source
from connect.config.function_files import evaluate_function

__all__: list[str] = []


def main() -> None:
    """Evaluate the file so many times; tell how long each time took."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--file", type=Path, required=True)
    parser.add_argument("--times", type=int, required=True)
    options = parser.parse_args()
    prepare_child()
    text = options.file.read_text(encoding="utf-8")
    took = []
    cpu = time.process_time()
    for _ in range(options.times):
        started = time.perf_counter()
        evaluate_function(Source("bench.cue", text))
        took.append((time.perf_counter() - started) * 1000)
    tell({"took_ms": took, "cpu_ms": (time.process_time() - cpu) * 1000})


if __name__ == "__main__":
    main()
