"""CDVAE: a variational autoencoder of crystals whose decoder removes noise from positions."""
