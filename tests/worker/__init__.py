"""Tests of the Trio worker."""
