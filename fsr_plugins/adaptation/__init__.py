"""A trained network adapted to a new domain by exemplars, and the protocol that measures it over many of them."""
