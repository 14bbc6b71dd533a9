"""Latents of a model: spaces, sampling, interpolation, mean shift, GANSpace, and mixing of models."""
