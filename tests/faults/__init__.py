"""The service as processes, with faults under load: ``scripts/faults``.

Two gateways, an API, two executors, workers of ours and of the official Python SDK run as
processes around a real Redis. TCP proxies stand between them. Requests come at a steady
rate while processes are killed and stopped and networks are cut, at moments that a seed
draws; a checker then reads what the callers saw and the workers' own journals.

`deployment` holds the processes and what joins them, `faults` what happens to them, `load`
the callers; `checker`, `bounds`, `lost`, `repeated`, `at_once` and `remains` say what must hold,
by what `presence` and `under_way` read in the journals; `run` brings all of it together and
`report` writes the figures down.
"""
