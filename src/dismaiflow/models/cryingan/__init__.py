"""CryinGAN: a generative adversarial network of point clouds (paper, section 2.4)."""
