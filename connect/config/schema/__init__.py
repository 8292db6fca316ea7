"""The definitions of functions and configuration, in CUE.

v1.cue      what a function is: ``import "inngest.com/defs/v1"``
config.cue  what a configuration is: ``import "inngest.com/defs/config"``
"""

from functools import cache
from importlib import resources

from connect.config.cue.source import Source

__all__ = ["CONFIG_PATH", "FUNCTION_PATH", "schema_source"]

CONFIG_PATH = "inngest.com/defs/config"
FUNCTION_PATH = "inngest.com/defs/v1"


@cache
def schema_source(path: str) -> Source:
    """Return the definitions at an import path, `CONFIG_PATH` or `FUNCTION_PATH`."""
    name = path.rpartition("/")[2] + ".cue"
    text = resources.files("connect.config.schema").joinpath(name).read_text(encoding="utf-8")
    return Source(f"{path}/{name}", text)
