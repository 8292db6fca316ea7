"""Connect: a gateway that holds WebSocket connections from worker SDKs.

Run it with ``python -m connect``; use it from an executor with `connect.rpc.Executor`.
"""

__version__ = "0.1.0"
