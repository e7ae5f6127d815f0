"""DiffCSP: joint equivariant diffusion of fractional coordinates and, if wanted, of the cell."""
