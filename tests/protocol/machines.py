"""Connection machines in the phases that tests need, and what to read off their effects."""

from connect.protocol import machine as m
from connect.protocol.envelope import decode_message, encode_message
from connect.protocol.messages.connect import v1 as pb

Kind = pb.GatewayMessageType
CONNECTION_ID = "01JD8ZK3V4P5Q6R7S8T9V0W1X2"
LEASE_ID = "01JD8ZK3V4P5Q6R7S8T9V0W1X3"


def hello(
    *,
    connection_id: str = CONNECTION_ID,
    instance_id: str = "worker-1",
    apps: int = 1,
    manual: bool = False,
) -> bytes:
    return encode_message(
        Kind.WORKER_CONNECT,
        bytes(
            pb.WorkerConnectRequestData(
                connection_id=connection_id,
                instance_id=instance_id,
                auth_data=pb.AuthData(session_token="t"),
                apps=[pb.AppConfiguration(app_name=f"app-{i}") for i in range(apps)],
                worker_manual_readiness_ack=manual,
            )
        ),
    )


DRAINED = m.Disconnect(
    m.DisconnectReason.GATEWAY_DRAINING, "connect_gateway_closing", m.Side.GATEWAY, 1001
)

READY_DATA = pb.GatewayConnectionReadyData(heartbeat_interval="10s", extend_lease_interval="5s")


def joined(*, manual: bool = False) -> m.ConnectionMachine:
    machine = m.ConnectionMachine()
    machine.opened(gateway_draining=False)
    machine.receive(hello(manual=manual))
    machine.joined(READY_DATA)
    return machine


def close_of(effects: m.Effects) -> m.Disconnect:
    [close] = [effect for effect in effects if isinstance(effect, m.Close)]
    return close.disconnect


def without_phases(effects: m.Effects) -> list[m.Effect]:
    return [effect for effect in effects if not isinstance(effect, m.PhaseChanged)]


def phase_of(effects: m.Effects) -> tuple[m.Phase, m.PhaseReason]:
    [change] = [effect for effect in effects if isinstance(effect, m.PhaseChanged)]
    return change.phase, change.reason


def sent_kinds(effects: m.Effects) -> list[int]:
    return [decode_message(e.message)[0] for e in effects if isinstance(e, m.Send)]
