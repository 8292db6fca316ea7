"""The garbage collector's part in latency, for processes that run the service.

A full collection looks at every object there is. What a service has once it listens, its
modules and generated classes above all, stays until it ends: some hundred thousand
objects, looked at again and again for nothing, with every request standing still
meanwhile.
"""

import gc

__all__ = ["settle_memory"]

# The youngest generation is collected after so many allocations more than deallocations;
# Python's default of some hundreds is reached within a few requests. The others follow
# after as many collections of the generation before them as by default.
_THRESHOLDS = (10_000, 10, 10)


def settle_memory() -> None:
    """Take all objects there are now for lasting, and collect what comes after them less often.

    To be called once, when everything is set up and before there is work to do. It holds
    for the whole process, so that it is the business of a program, never of a library.
    Cycles among later objects are still collected. The effect is measured in
    ``docs/benchmarks.md``.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
