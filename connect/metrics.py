"""What the service counts, as Prometheus metrics in a registry of its own.

One `Metrics` object per service; nothing here is global, so that several services can
live in one process (as in tests).
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

__all__ = ["Metrics"]

_LATENCY_BUCKETS = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200,
)  # fmt: skip


class Metrics:
    """The counters, gauges and histograms of one service, and their registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.connections = Gauge(
            "connect_connections", "Open worker connections.", registry=self.registry
        )
        self.connections_opened = Counter(
            "connect_connections_opened", "Worker sockets accepted.", registry=self.registry
        )
        self.connections_closed = Counter(
            "connect_connections_closed",
            "Worker connections ended, by reason.",
            ["reason"],
            registry=self.registry,
        )
        self.connections_refused = Counter(
            "connect_connections_refused",
            "Worker connections refused because of a limit, by syscode and setting.",
            ["reason", "limit"],
            registry=self.registry,
        )
        self.starts_refused = Counter(
            "connect_starts_refused",
            "Requests of workers for a connection (POST /v0/connect/start) that the API refused, "
            "by code.",
            ["code"],
            registry=self.registry,
        )
        self.handshakes = Gauge(
            "connect_handshakes",
            "Worker connections whose handshake is in progress.",
            registry=self.registry,
        )
        self.draining = Gauge(
            "connect_draining",
            "Whether the gateway sends its connections away (0 or 1).",
            registry=self.registry,
        )
        self.handshake_seconds = Histogram(
            "connect_handshake_seconds",
            "From WORKER_CONNECT to GATEWAY_CONNECTION_READY.",
            buckets=_LATENCY_BUCKETS,
            registry=self.registry,
        )
        self.messages = Counter(
            "connect_messages", "Messages from workers, by kind.", ["kind"], registry=self.registry
        )
        self.forwards = Counter(
            "connect_forwards",
            "Forwarded requests, by outcome.",
            ["outcome"],
            registry=self.registry,
        )
        self.forward_seconds = Histogram(
            "connect_forward_seconds",
            "From Forward to the worker's acknowledgement.",
            buckets=_LATENCY_BUCKETS,
            registry=self.registry,
        )
        self.replies = Counter(
            "connect_replies",
            "Replies of workers, by outcome.",
            ["outcome"],
            registry=self.registry,
        )
        self.lease_extensions = Counter(
            "connect_lease_extensions",
            "Lease extensions that workers asked for, by outcome.",
            ["outcome"],
            registry=self.registry,
        )
        self.store_failures = Counter(
            "connect_store_failures",
            "Operations that the state store did not answer.",
            ["operation"],
            registry=self.registry,
        )
        self.store_away = Gauge(
            "connect_store_away",
            "Whether the gateway gets no answer from the state store (0 or 1).",
            registry=self.registry,
        )
        self.replies_kept = Gauge(
            "connect_replies_kept",
            "Replies kept in memory until the state store takes them.",
            registry=self.registry,
        )
        self.garbage_collections = Counter(
            "connect_garbage_collections",
            "Collections of garbage, by outcome.",
            ["outcome"],
            registry=self.registry,
        )
        self.garbage = Counter(
            "connect_garbage",
            "What collections removed, and the records that they could not read.",
            ["kind"],
            registry=self.registry,
        )
        self.requests = Counter(
            "connect_requests",
            "Requests that this process's executor ended, by outcome.",
            ["outcome"],
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "connect_request_seconds",
            "From the executor's start on a request to its reply.",
            buckets=_LATENCY_BUCKETS,
            registry=self.registry,
        )
        self.store_round_trips = Gauge(
            "connect_store_round_trips",
            "Commands sent to the state store by this process.",
            registry=self.registry,
        )
        self.tasks = Gauge(
            "connect_tasks",
            "Tasks that live in this process.",
            registry=self.registry,
        )
        self.reloads = Counter(
            "connect_reloads",
            "Reloads of configuration and function definitions, by outcome.",
            ["outcome"],
            registry=self.registry,
        )
        self.reload_time = Gauge(
            "connect_reload_time_seconds",
            "When the last reload ended, in unix time; 0 before the first.",
            registry=self.registry,
        )
        self.reload_succeeded = Gauge(
            "connect_reload_succeeded",
            "Whether the last reload took effect (0 or 1); 1 before the first.",
            registry=self.registry,
        )
        self.reload_succeeded.set(1)
        self.functions_defined = Gauge(
            "connect_functions_defined",
            "Function definitions that are loaded from files.",
            registry=self.registry,
        )
