"""The `gansketching` command; with this package, the only place that prints."""
