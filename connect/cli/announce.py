"""Telling people and harnesses where a service listens."""

import json
import os

from connect.app import Addresses
from connect.errors import ConfigurationError

__all__ = ["Announcer"]


class Announcer:
    """Says once where the service listens.

    Args:
        print_addresses: whether to print a line of JSON on stdout.
        address_file: a file to write that line to; it appears whole or not at all.
    """

    def __init__(self, *, print_addresses: bool, address_file: str | None) -> None:
        self._print = print_addresses
        self._file = address_file

    def announce(self, addresses: Addresses) -> None:
        """Announce the addresses.

        Raises:
            ConfigurationError: the address file cannot be written.
        """
        line = json.dumps(addresses.as_json())
        if self._print:
            print(line, flush=True)
        if self._file is not None:
            scratch = f"{self._file}.{os.getpid()}"
            try:
                with open(scratch, "w", encoding="utf-8") as file:
                    file.write(line + "\n")
                os.replace(scratch, self._file)
            except OSError as error:
                raise ConfigurationError(
                    f"cannot write the address file {self._file}: {error.strerror}"
                ) from error
