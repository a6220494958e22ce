"""A small world of handwritten digits in which everything can be trained, from data to figures."""
