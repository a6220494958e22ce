"""Static pages and the server that shows them on this machine."""
