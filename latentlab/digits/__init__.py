"""The small world where everything can be trained: handwritten digits, from data to figures."""
