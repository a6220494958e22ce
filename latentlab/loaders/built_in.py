"""The VAEs shipped with latentlab, each a folder of ``latentlab/models`` in diffusers' layout."""

BUILT_IN = {
    "mini": "a small KL autoencoder, 16 channels, trained on 1,000 photos",
    "linear": "principal components of 8×8 patches, 16 channels: the linear control",
    "linear32": "principal components of 8×8 patches, 32 channels: the linear control",
}
"""Name → description."""
