"""Measurements of the service, on a Redis of their own: ``scripts/bench``.

``requests`` runs a gateway, workers and an executor as processes, one set per row, and
counts what a request takes: time, CPU of each process, Redis calls. ``redis`` compares
what a call through our Redis client and through redis-py's costs. ``state`` calls the state
store for apps of up to thousands of connections. ``soak`` (``scripts/soak``) watches a gateway
with thousands of connections for as long as one likes. ``cue`` evaluates and checks function
definitions, and needs no Redis. ``drain`` sends thousands of connections from one gateway to
another.

Every measured process is a child of its own; the process that measures sleeps meanwhile.
"""
