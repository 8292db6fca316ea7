"""Kinds of options that more than one command has."""

import click

__all__ = ["Numbers"]


class Numbers(click.ParamType[tuple[int, ...]]):
    """Numbers of connections, separated by commas."""

    name = "NUMBERS"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        try:
            numbers = tuple(int(text) for text in str(value).split(","))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if min(numbers) < 1:
            self.fail(f"{min(numbers)} is not a number of connections", param, ctx)
        return numbers
