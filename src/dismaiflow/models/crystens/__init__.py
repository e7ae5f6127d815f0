"""CrysTens: a cascade of diffusion models on images of pair differences."""
