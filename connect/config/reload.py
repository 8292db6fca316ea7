"""What changes when a running service is given new settings."""

from dataclasses import dataclass, replace
from typing import Any

from connect.config.catalogue import catalogue, value_at
from connect.settings import Settings

__all__ = ["ReloadPlan", "reload_plan", "with_live_changes"]


@dataclass(frozen=True, slots=True)
class ReloadPlan:
    """The settings whose values differ, by their paths, in the order of `Settings`.

    Attributes:
        live: take effect in the running service, from their next use.
        restart: take effect when the service is started again.
    """

    live: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()


def reload_plan(old: Settings, new: Settings) -> ReloadPlan:
    """Tell which changes can take effect in a running service.

    Args:
        old: what the service runs with.
        new: what it would run with if it were started now.

    Returns:
        The paths of the settings that differ; never their values, so that it can be logged.
    """
    changed = [
        setting
        for path, setting in catalogue().items()
        if value_at(old, path) != value_at(new, path)
    ]
    return ReloadPlan(
        live=tuple(setting.path for setting in changed if setting.live),
        restart=tuple(setting.path for setting in changed if not setting.live),
    )


def with_live_changes(old: Settings, new: Settings) -> Settings:
    """Return the old settings with those changes that take effect in a running service."""
    sections: dict[str, dict[str, Any]] = {}
    for path in reload_plan(old, new).live:
        setting = catalogue()[path]
        sections.setdefault(setting.section, {})[setting.name] = value_at(new, path)
    changes = sections.pop("", {})
    for section, values in sections.items():
        changes[section] = replace(getattr(old, section), **values)
    return replace(old, **changes)
