"""The latents of a whole folder of images: written shard by shard, read in constant memory."""
