"""Apps by name, for the command line."""

import difflib
import importlib
import os
import pkgutil
import sys
from collections.abc import Iterable
from types import ModuleType

from connect.errors import ConfigurationError
from connect.worker.app import App

__all__ = ["load_apps"]


def load_apps(reference: str) -> list[App]:
    """Import apps.

    The working directory can be imported from, as with ``python -m``.

    Args:
        reference: ``module:attribute``; the attribute is an App or a collection of them.

    Raises:
        ConfigurationError: there is no such module or attribute, importing failed, or
            the attribute is something else; the text says what is near.
    """
    module_name, colon, attribute = reference.partition(":")
    if not (module_name and colon and attribute):
        raise ConfigurationError(
            f"expected module:attribute, such as connect.demo:app, not {reference!r}"
        )
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())
    module = _import(module_name)
    try:
        value = getattr(module, attribute)
    except AttributeError:
        apps = [name for name, found in vars(module).items() if isinstance(found, App)]
        near = difflib.get_close_matches(attribute, list(vars(module)), n=3, cutoff=0.5)
        raise ConfigurationError(
            f"module {module_name} has no {attribute!r}{_suggest(apps or near)}"
        ) from None
    return _apps_of(value, reference)


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or name
        if name == missing or name.startswith(f"{missing}."):
            raise ConfigurationError(
                f"there is no module {missing!r}{_suggest(_near_modules(missing))}"
            ) from None
        raise ConfigurationError(f"module {name} cannot be imported: {error}") from error
    except Exception as error:  # importing runs foreign code
        raise ConfigurationError(
            f"module {name} cannot be imported: {type(error).__name__}: {error}"
        ) from error


def _near_modules(missing: str) -> list[str]:
    """Modules beside the missing one, with names like its own."""
    parent, dot, leaf = missing.rpartition(".")
    path = getattr(sys.modules.get(parent), "__path__", []) if dot else None
    names = [module.name for module in pkgutil.iter_modules(path)]
    return [f"{parent}{dot}{near}" for near in difflib.get_close_matches(leaf, names)]


def _suggest(names: Iterable[str]) -> str:
    unique = list(dict.fromkeys(names))
    return f"; did you mean {' or '.join(unique)}?" if unique else ""


def _apps_of(value: object, reference: str) -> list[App]:
    if isinstance(value, App):
        return [value]
    apps = list(value) if isinstance(value, list | tuple | set | frozenset) else []
    if not apps or not all(isinstance(app, App) for app in apps):
        raise ConfigurationError(
            f"{reference} is a {type(value).__name__}, not an App or a list of Apps"
        )
    return apps
