"""Registered functions against loaded definitions: at each sync, and when definitions change."""

from collections.abc import Collection

from structlog.typing import FilteringBoundLogger

from connect.config.defined import DefinedFunctions
from connect.config.differences import differences
from connect.errors import ConnectError
from connect.nursery.services import Services
from connect.state.records import AppRecord
from connect.state.store import AppStore

__all__ = ["compare_stored", "tell_differences"]

_TOLD = 20  # differences of one function in a log line
_SYNCS = 10_000  # that are known to have been told of


def tell_differences(services: Services, app: AppRecord) -> None:
    """Log how an app's functions differ from the loaded definitions with the same ids.

    Of one sync that is told once in the life of this process, however many workers join it.

    Args:
        app: as a worker has just registered it, or as it was registered before.
    """
    defined = services.defined()
    if not defined or app.sync_id in services.compared:
        return
    services.compared[app.sync_id] = None
    if len(services.compared) > _SYNCS:
        del services.compared[next(iter(services.compared))]
    _log_differences(services.log, defined, app, defined.keys())


async def compare_stored(
    apps: AppStore,
    env_id: str,
    defined: DefinedFunctions,
    ids: Collection[str],
    *,
    log: FilteringBoundLogger,
) -> None:
    """Log how the registered functions of all apps differ from definitions that are new.

    A store that does not answer, or refuses to, is logged, too.

    Args:
        ids: of the definitions.
    """
    try:
        registered = await apps.all(env_id)
    except ConnectError as error:
        log.warning(
            "registered functions cannot be compared with new definitions", error=str(error)
        )
        return
    for app in registered:
        _log_differences(log, defined, app, ids)


def _log_differences(
    log: FilteringBoundLogger, defined: DefinedFunctions, app: AppRecord, ids: Collection[str]
) -> None:
    for registered in app.functions:
        function_id = registered.get("id")  # another implementation may store anything
        if not isinstance(function_id, str) or function_id not in ids:
            continue
        definition = defined[function_id]
        found = differences(definition.function, registered)
        if found:
            log.warning(
                "registered function differs from its definition",
                app=app.name,
                function=function_id,
                file=definition.file,
                differences=[str(difference) for difference in found[:_TOLD]],
                number=len(found),
            )
