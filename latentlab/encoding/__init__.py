"""Images become latents and latents images: in batches, in tiles, at a precision."""
