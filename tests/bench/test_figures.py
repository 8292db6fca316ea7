"""Figures from samples."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.figures import percentile, ratio, summarize


def test_percentile_is_a_sample_by_nearest_rank() -> None:
    ascending = [float(number) for number in range(1, 101)]
    assert [percentile(ascending, percent) for percent in (1, 50, 99, 100)] == [1, 50, 99, 100]


def test_percentile_of_one_sample_is_that_sample() -> None:
    assert percentile([7.0], 50) == 7.0


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 100))
def test_so_many_percent_of_samples_do_not_exceed_the_percentile(
    samples: list[float], percent: float
) -> None:
    ascending = sorted(samples)
    found = percentile(ascending, percent)
    assert sum(sample <= found for sample in ascending) >= len(ascending) * percent / 100 - 1e-6


def test_percentile_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no samples"):
        percentile([], 50)


@pytest.mark.parametrize("percent", [0, 100.1])
def test_percentile_outside_of_its_range_is_refused(percent: float) -> None:
    with pytest.raises(ValueError, match="not a percentage"):
        percentile([1.0], percent)


def test_latencies_are_summed_up_in_milliseconds() -> None:
    latency = summarize([0.003, 0.001, 0.002, 0.010])
    assert (latency.p50, latency.p99, latency.max) == (2.0, 10.0, 10.0)


def test_ratio_to_nothing_is_no_number() -> None:
    assert math.isnan(ratio(1.0, 0.0))
