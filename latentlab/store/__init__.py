"""The latents of a whole folder of pictures: written shard by shard, read in constant memory."""
