"""Choices made for users who make none."""

DEFAULT_MODEL = "taef2"
DEFAULT_NEIGHBORHOOD = "augment"
