"""Names of everything in Redis, in both layouts.

All keys of one environment carry the hash tag ``{envID}``, so that one script may
touch them all on Redis Cluster. The shared names are those of the reference
implementation's table of keys; the indexes under ``{envID}:ix:`` and
``{envID}:registry:`` are ours alone, and losing them loses no connection.
"""

from dataclasses import dataclass

import xxhash

from connect.settings import KeyLayout

__all__ = ["Keys", "worker_hash"]

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"

# Where connections of a group and of an app are listed, the layouts differ.
_GROUP_PREFIX = {KeyLayout.CONNECT: "group:", KeyLayout.INNGEST: "groups:"}
_APP_PREFIX = {KeyLayout.CONNECT: "app:", KeyLayout.INNGEST: "conns_appid:"}


def worker_hash(instance_id: str) -> str:
    """Return the name of a worker within keys.

    That is the 64-bit xxHash (seed 0) of the instance id in base 36, lower case.
    """
    number = xxhash.xxh64_intdigest(instance_id.encode())
    digits: list[str] = []
    while True:
        number, digit = divmod(number, 36)
        digits.append(_DIGITS[digit])
        if number == 0:
            return "".join(reversed(digits))


@dataclass(frozen=True, slots=True)
class Keys:
    """Key names in one layout.

    Methods that end in ``_prefix`` name the beginning of a family of keys, for
    scripts that find out the rest themselves.
    """

    layout: KeyLayout = KeyLayout.CONNECT

    def connections(self, env_id: str) -> str:
        """Hash: connection id to connection JSON."""
        return f"{{{env_id}}}:conns"

    def groups(self, env_id: str) -> str:
        """Hash: group hash to group JSON."""
        return f"{{{env_id}}}:groups"

    def group_prefix(self, env_id: str) -> str:
        return f"{{{env_id}}}:{_GROUP_PREFIX[self.layout]}"

    def group(self, env_id: str, group_hash: str) -> str:
        """Set: ids of the group's connections."""
        return self.group_prefix(env_id) + group_hash

    def app_prefix(self, env_id: str) -> str:
        return f"{{{env_id}}}:{_APP_PREFIX[self.layout]}"

    def app(self, env_id: str, app_id: str) -> str:
        """Set: ids of the connections that serve the app."""
        return self.app_prefix(env_id) + app_id

    def lease(self, env_id: str, request_id: str) -> str:
        """String: lease JSON."""
        return f"{{{env_id}}}:request-lease:{request_id}"

    def response(self, env_id: str, request_id: str) -> str:
        """String: bytes of the SDKResponse."""
        return f"{{{env_id}}}:buffered-response:{request_id}"

    def capacity_prefix(self, env_id: str) -> str:
        return f"{{{env_id}}}:worker-capacity:"

    def capacity(self, env_id: str, instance_id: str) -> str:
        """String: the worker's limit."""
        return self.capacity_prefix(env_id) + worker_hash(instance_id)

    def requests_prefix(self, env_id: str) -> str:
        return f"{{{env_id}}}:worker-requests-set:"

    def requests(self, env_id: str, instance_id: str) -> str:
        """Sorted set: ids of the worker's requests by expiry in unix seconds."""
        return self.requests_prefix(env_id) + worker_hash(instance_id)

    def request_worker(self, env_id: str, request_id: str) -> str:
        """String: instance id of the worker that the request is assigned to."""
        return f"{{{env_id}}}:request-worker:{request_id}"

    def gateways(self) -> str:
        """Hash: gateway id to gateway JSON."""
        return "{connect}:gateways"

    # For scripts that keep our indexes: lua/indexes.lua.

    def indexed_keys(self, env_id: str) -> tuple[str, str]:
        """Return the keys that such a script begins with."""
        return self.connections(env_id), self.groups(env_id)

    def indexed_args(self, env_id: str, now_ms: int) -> tuple[int, str, str, str]:
        """Return the arguments that such a script begins with."""
        return (
            now_ms,
            self.index_prefix(env_id),
            self.capacity_prefix(env_id),
            self.requests_prefix(env_id),
        )

    # Indexes of our own. lua/indexes.lua builds the same names.

    def index_prefix(self, env_id: str) -> str:
        """Beginning of the names of all our indexes."""
        return f"{{{env_id}}}:ix:"

    def ready(self, env_id: str, app_id: str, group_hash: str, gateway_id: str) -> str:
        """Sorted set: READY connections whose worker may have room, by heartbeat in unix ms."""
        return f"{{{env_id}}}:ix:ready:{app_id}:{group_hash}:{gateway_id}"

    def full(self, env_id: str, app_id: str, group_hash: str, gateway_id: str) -> str:
        """Sorted set: READY connections whose worker is full, by heartbeat in unix ms."""
        return f"{{{env_id}}}:ix:full:{app_id}:{group_hash}:{gateway_id}"

    def draining(self, env_id: str, app_id: str, group_hash: str, gateway_id: str) -> str:
        """Sorted set: DRAINING connections, by heartbeat in unix ms."""
        return f"{{{env_id}}}:ix:draining:{app_id}:{group_hash}:{gateway_id}"

    def group_gateways(self, env_id: str, app_id: str, group_hash: str) -> str:
        """Set: ids of the gateways for which there is one of the three sets above."""
        return f"{{{env_id}}}:ix:gateways:{app_id}:{group_hash}"

    def app_groups(self, env_id: str, app_id: str) -> str:
        """Hash: each synced group of the app to its time of creation (RFC 3339)."""
        return f"{{{env_id}}}:ix:app-groups:{app_id}"

    def functions(self, env_id: str, group_hash: str) -> str:
        """Set: slugs of the functions that the group serves."""
        return f"{{{env_id}}}:ix:functions:{group_hash}"

    def indexed_apps(self, env_id: str) -> str:
        """Set: ids of the apps for which there is an index."""
        return f"{{{env_id}}}:ix:apps"

    def indexed_groups(self, env_id: str) -> str:
        """Set: hashes of the groups that a connection of ours is listed in."""
        return f"{{{env_id}}}:ix:groups"

    def known(self, env_id: str, app_id: str) -> str:
        """Sorted set: indexed connections of the app, by when to read them again (unix ms)."""
        return f"{{{env_id}}}:ix:known:{app_id}"

    def workers(self, env_id: str) -> str:
        """Hash: connection id to the worker's hash."""
        return f"{{{env_id}}}:ix:workers"

    def worker_connections(self, env_id: str, instance_id: str) -> str:
        """Set: ids of the worker's connections."""
        return f"{{{env_id}}}:ix:worker:{worker_hash(instance_id)}"

    def busy(self, env_id: str) -> str:
        """Sorted set: hashes of full workers by the earliest expiry in unix seconds."""
        return f"{{{env_id}}}:ix:busy"

    def tombstone(self, env_id: str, connection_id: str) -> str:
        """String with a TTL: this connection was deleted, late writes come to nothing."""
        return f"{{{env_id}}}:ix:deleted:{connection_id}"

    def created(self, env_id: str, group_hash: str) -> str:
        """String with a TTL: when the group was created that lost its last connection."""
        return f"{{{env_id}}}:ix:created:{group_hash}"

    def abandoned(self, env_id: str, request_id: str) -> str:
        """String with a TTL: the request ended without a response; a late one is not kept.

        It tells when the lease ends under which a worker may still run it, and which worker.
        """
        return f"{{{env_id}}}:ix:abandoned:{request_id}"

    def apps(self, env_id: str) -> str:
        """Hash: app id to app JSON (the built-in registry)."""
        return f"{{{env_id}}}:registry:apps"

    def slugs(self, env_id: str) -> str:
        """Hash: function slug to app id (the built-in registry)."""
        return f"{{{env_id}}}:registry:slugs"

    def app_slugs(self, env_id: str, app_id: str) -> str:
        """Set: slugs of the app's functions (the built-in registry)."""
        return f"{{{env_id}}}:registry:app-slugs:{app_id}"
