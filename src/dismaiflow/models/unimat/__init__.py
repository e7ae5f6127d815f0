"""UniMat: diffusion of videos, a frame for each atom."""
