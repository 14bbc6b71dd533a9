"""A web page that shows a model."""
