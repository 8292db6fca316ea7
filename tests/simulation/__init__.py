"""The whole service in one Trio run, on a clock that jumps, driven by a seed.

Executors, gateways, workers, the API and the state are the real code; the network between
them, Redis and time are simulated. Faults come at random moments, everything that matters is
written into a history, and a checker proves from it what must hold. The same seed gives the
same history, on any machine: ``scripts/simulate --seed N`` replays what a seed showed.

`world` holds the nodes and what joins them, `faults` and `workload` what happens to them,
`history` what was seen, `checker` what must hold, `run` brings all of it together.
"""
