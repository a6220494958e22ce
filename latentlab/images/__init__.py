"""Image files to tensors (3, H, W) in [−1, 1] and back; no models here."""
