"""Downloads: the catalogue of models that others offer, fetching and installing them."""
