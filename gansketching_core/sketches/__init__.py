"""Sketches: drawn on the pad, prepared for training, compared with each other."""
