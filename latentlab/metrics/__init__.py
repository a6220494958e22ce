"""One metric a file, on plain arrays."""
