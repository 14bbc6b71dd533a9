"""Inversion: latents for a given photo or sketch."""
