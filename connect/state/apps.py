"""The built-in registry of apps and functions in Redis."""

from dataclasses import dataclass

from connect.state.commands import Commands, load_script
from connect.state.encoding import decode_app, encode_app, readable
from connect.state.keys import Keys
from connect.state.records import AppRecord
from connect.state.store import FunctionLocation

__all__ = ["RedisAppStore"]

_SAVE = load_script("save_app")
_FIND = load_script("find_function")


@dataclass(frozen=True, slots=True)
class RedisAppStore:
    """`AppStore` on Redis."""

    commands: Commands
    keys: Keys

    async def save(self, env_id: str, app: AppRecord) -> None:
        slugs = [slug for function in app.functions if isinstance(slug := function.get("id"), str)]
        keys = self.keys
        await self.commands.run(
            _SAVE,
            (keys.apps(env_id), keys.slugs(env_id), keys.app_slugs(env_id, app.id)),
            (app.id, encode_app(app), *slugs),
        )

    async def get(self, env_id: str, app_id: str) -> AppRecord | None:
        value = await self.commands.execute("HGET", self.keys.apps(env_id), app_id)
        return None if value is None else decode_app(value)

    async def all(self, env_id: str) -> list[AppRecord]:
        apps = readable(decode_app, await self.commands.execute("HVALS", self.keys.apps(env_id)))
        return sorted(apps, key=lambda app: (app.name, app.id))

    async def find_function(self, env_id: str, slug: str) -> FunctionLocation | None:
        value = await self.commands.run(
            _FIND, (self.keys.apps(env_id), self.keys.slugs(env_id)), (slug,)
        )
        return None if value is None else FunctionLocation(decode_app(value), slug)

    async def function_slugs(self, env_id: str) -> list[str]:
        slugs = await self.commands.execute("HKEYS", self.keys.slugs(env_id))
        return sorted(slug.decode() for slug in slugs)
