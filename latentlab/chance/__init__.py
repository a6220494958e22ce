"""What chance alone would produce: nulls, intervals, elbows, and a verdict in words."""
