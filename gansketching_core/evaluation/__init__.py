"""Evaluation: metrics, the match of a model and its sketches, a classifier."""
