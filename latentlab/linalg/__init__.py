"""Linear algebra on plain tensors."""
