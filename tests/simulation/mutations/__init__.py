"""Faults of our own making, put into the service: the simulation has to find each of them."""

from tests.simulation.mutations import endings, fallbacks, recovery, requests, work
from tests.simulation.mutations.mutation import Mutation

__all__ = ["MUTATIONS", "Mutation"]

MUTATIONS = {
    **requests.MUTATIONS,
    **recovery.MUTATIONS,
    **endings.MUTATIONS,
    **work.MUTATIONS,
    **fallbacks.MUTATIONS,
}
