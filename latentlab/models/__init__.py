"""The weights that come with latentlab, and their checksums."""
