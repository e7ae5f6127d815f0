"""Structure sets: arrays, files, checks, dataset folders, ideal lattices."""
