"""Principal components of neighborhoods, matrices, streams and stores."""
