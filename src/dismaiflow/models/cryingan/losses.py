"""Losses of a Wasserstein GAN with gradient penalty (paper, equations 2 to 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from dismaiflow.models.cryingan.critics import Critic, Inputs


class CriticLoss(NamedTuple):
    """Parts of a critic's loss.

    Attributes
    ----------
    wasserstein : torch.Tensor
        Mean output for real structures minus that for generated ones: what the critic raises.
    penalty : torch.Tensor
        Mean squared deviation of the norm of the gradient from 1, without its weight µ.
    """

    wasserstein: torch.Tensor
    penalty: torch.Tensor

    def total(self, penalty_weight: float) -> torch.Tensor:
        """Return the loss of equation 2."""
        return penalty_weight * self.penalty - self.wasserstein


def critic_loss(
    critic: Critic, real: Inputs, fake: Inputs, places: torch.Tensor, scale: float = 1.0
) -> CriticLoss:
    """Return what a critic minimises.

    Parameters
    ----------
    critic : Critic
        The critic; its outputs are averaged.
    real, fake : list of torch.Tensor, shape (n, n_atoms, n_features)
        Features of real and generated structures, the latter without graph.
    places : torch.Tensor, shape (n,)
        Where between generated (0) and real (1) each pair is interpolated, one number for all its
        features; uniform at random.
    scale : float
        Factor of the gradient of the sum of the outputs: 1, or one over their number for that of
        the mean.
    """
    for_real, for_fake = critic.both(real, fake)
    return CriticLoss(
        wasserstein=for_real.mean() - for_fake.mean(),
        penalty=gradient_penalty(critic, real, fake, places, scale),
    )


def gradient_penalty(
    critic: Critic, real: Inputs, fake: Inputs, places: torch.Tensor, scale: float = 1.0
) -> torch.Tensor:
    """Return the mean of (|gradient| - 1)^2 over structures between real and generated ones.

    Parameters
    ----------
    critic, real, fake, places, scale
        See `critic_loss`.
    """
    between = [torch.lerp(b, a, places[:, None, None]) for a, b in zip(real, fake, strict=True)]
    gradients = torch.cat([g.flatten(1) for g in critic.input_gradients(between)], dim=1)
    norms = torch.linalg.vector_norm(gradients, dim=1) * scale
    return (norms - 1).square().mean()


def generator_loss(critic: Critic, fake: Inputs) -> torch.Tensor:
    """Return what the generator minimises by one critic: minus equation 4."""
    return -critic(fake).mean()
