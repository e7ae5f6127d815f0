"""Gaussian diffusion of images, as UniMat and CrysTens are trained and sampled."""
