"""Linear algebra on large matrices: sums in float64, rows that stream, subspaces and bases."""
