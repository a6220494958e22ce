"""
Pull-back geometry
==================

How far apart are two latents? Not in the latent space, but in what one sees: by how much does the decoded
image change? For small steps the decoder's Jacobian J answers. A step v changes the image by ‖Jv‖, and
JᵀJ is the metric of images, *pulled back* to latents. Its leading directions change the image most. They
need no samples.
"""

import matplotlib.pyplot as plt
import torch

import latentlab
from latentlab.pullback import decoder_map

vae = latentlab.load_vae("mini")
z = latentlab.encode(vae, "sample:flower", size=48)
hood = latentlab.neighborhood(vae, z, "augment", n_samples=24)
around = decoder_map(vae, z)


def gains(rows):
    """Return how much the image changes for one unit along each row."""
    unit = rows / rows.norm(dim=1, keepdim=True)
    return around.push(unit.float()).flatten(1).norm(dim=1)


leading = latentlab.find_directions(vae, z, hood, n_components=5, finder="jacobian").rows
components = latentlab.fit_pca(hood).components[:5]
random = torch.randn(5, components.shape[1], generator=torch.Generator().manual_seed(0))

figure, ax = plt.subplots(figsize=(6.8, 4.2), layout="constrained")
for name, rows in {"Jacobian": leading, "PCA": components, "random": random}.items():
    ax.plot(range(1, 6), gains(rows), "o-", label=name)
ax.set(xlabel="direction", ylabel="change of the image for one unit", ylim=(0, None))
ax.set_xticks(range(1, 6))
ax.legend()
plt.show()

# %%
# The leading directions change the image more than twice as much as random ones. The components of the copies
# change it about a third more at most, for one unit: they say where the samples vary, not what the decoder
# responds to.
#
# **What this does not show.** A large change is not a meaningful one. The leading directions of the Jacobian
# often put a bright spot somewhere. And the metric holds for small steps only: ``latentlab traverse
# --curved`` computes the direction again at every step.
