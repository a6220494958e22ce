"""What chance alone would have given: nulls, intervals, elbows, and a verdict in words."""
