"""Experiments: the study of the method beside baselines, and benchmarks."""
