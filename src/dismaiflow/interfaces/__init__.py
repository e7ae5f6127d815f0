"""Interfaces: from bulk cells to slabs, and the disordered region between them."""
