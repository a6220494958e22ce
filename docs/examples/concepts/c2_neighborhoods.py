"""
Neighborhoods, and what each can tell
=====================================

A latent is one point. To ask in which directions it can move, one needs others around it: a
*neighborhood*. Which directions are found depends on how the others were made. A spectrum shows what was
sampled, before it shows anything about the model.
"""

import matplotlib.pyplot as plt

import latentlab

vae = latentlab.load_vae("mini")
z = latentlab.encode(vae, "sample:flower", size=64)

figure, ax = plt.subplots(figsize=(7.2, 4.4), layout="constrained")
for name in ("augment", "gaussian", "reencode"):
    hood = latentlab.neighborhood(vae, z, name, n_samples=48)
    curve = latentlab.fit_pca(hood).spectrum.cumulative
    ax.plot(range(1, len(curve) + 1), curve, label=name)
ax.set(xlabel="components", ylabel="share of the variance", ylim=(0, 1.02))
ax.legend()
plt.show()

# %%
# ``augment`` changes the image in nine known ways and encodes every copy: the positive control. A few
# components hold most of it. ``gaussian`` is noise around the latent: the negative control. It says nothing
# about the model, and its curve is smooth all the same. ``reencode`` is noise that was decoded and encoded
# again. What these can and cannot show is printed below every result:

for name in ("augment", "gaussian", "reencode"):
    print(f"{name}: {latentlab.neighborhood(vae, z, name, n_samples=4).sampling.statement}\n")

# %%
# **What this does not show.** A steep curve does not mean that the model found the nine changes by itself:
# they were put in. A flat one does not mean that the latent space is entangled. Compare with the
# same copies as plain pixels, which ``latentlab pca`` does, and with the other images of a folder.
