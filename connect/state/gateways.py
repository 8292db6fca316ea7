"""The table of gateways in Redis."""

from dataclasses import dataclass

from connect.state.commands import Commands
from connect.state.encoding import decode_gateway, encode_gateway, readable
from connect.state.keys import Keys
from connect.state.records import GatewayRecord

__all__ = ["RedisGatewayStore"]


@dataclass(frozen=True, slots=True)
class RedisGatewayStore:
    """`GatewayStore` on Redis."""

    commands: Commands
    keys: Keys

    async def upsert(self, gateway: GatewayRecord) -> None:
        await self.commands.execute(
            "HSET", self.keys.gateways(), gateway.id, encode_gateway(gateway)
        )

    async def delete(self, gateway_id: str) -> None:
        await self.commands.execute("HDEL", self.keys.gateways(), gateway_id)

    async def all(self) -> list[GatewayRecord]:
        fields = await self.commands.execute("HGETALL", self.keys.gateways())
        return readable(decode_gateway, fields[1::2])
