"""Evaluation: metrics of samples and photos, the sketch match, a classifier of samples."""
