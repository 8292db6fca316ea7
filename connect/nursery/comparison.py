"""Registered functions against loaded definitions, at each sync."""

from connect.config.differences import differences
from connect.nursery.services import Services
from connect.state.records import AppRecord

__all__ = ["tell_differences"]

_TOLD = 20  # differences of one function in a log line


def tell_differences(services: Services, app: AppRecord) -> None:
    """Log how an app's functions differ from the loaded definitions with the same ids.

    Args:
        app: as a worker has just registered it.
    """
    defined = services.defined()
    for registered in app.functions:
        definition = defined.get(registered["id"])
        if definition is None:
            continue
        found = differences(definition.function, registered)
        if found:
            services.log.warning(
                "registered function differs from its definition",
                app=app.name,
                function=registered["id"],
                file=definition.file,
                differences=[str(difference) for difference in found[:_TOLD]],
                number=len(found),
            )
