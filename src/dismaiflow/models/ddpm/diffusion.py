"""Gaussian diffusion in continuous time, as in Imagen.

Saharia et al., NeurIPS 2022 (arXiv:2205.11487), sections 2.1 to 2.4; Kingma et al., NeurIPS 2021
(arXiv:2107.00630), equations 25 to 33. The paper (10.1039/d4dd00100a, sections 4.2.3 and 4.2.4)
trains CrysTens and UniMat with the defaults of imagen-pytorch 1.26.2, which are the defaults here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import torch

from dismaiflow.progress import report

Schedule = Literal["cosine", "linear"]
Threshold = Literal["dynamic", "static", "none"]

#: One generator for all images, or one for each, which makes them independent of the batch.
Randomness = torch.Generator | Sequence[torch.Generator]

#: A network that predicts noise. It is called with noisy images and the log signal-to-noise ratio
#: of each; the second one of a cascade also with the noisy image of low resolution, at full size,
#: and its ratio.
Denoiser = Callable[..., Any]

#: Offset of the cosine schedule (Nichol and Dhariwal, arXiv:2102.09672).
_COSINE_OFFSET = 0.008

#: Bounds of the ratio of noise to signal in the cosine schedule. The upper is that of t = 1 in
#: single precision, in which the published networks are told the noise level; exactly, it is
#: infinite.
_LEAST_RATIO, _MOST_RATIO = 1e-5, 5.2337e14

#: Smallest share of the signal by which an image is divided.
_LEAST_ALPHA = 1e-8

#: Share of the pixels whose magnitudes lie below the dynamic threshold.
_QUANTILE = 0.95


def sample_noise(shape: Sequence[int], rng: Randomness) -> torch.Tensor:
    """Draw normal noise on the processor.

    Parameters
    ----------
    shape : sequence of int
        The first is the number of images.
    rng : torch.Generator or sequence of them
        One for all, or one for each image.
    """
    if isinstance(rng, torch.Generator):
        return torch.randn(tuple(shape), generator=rng)
    return torch.stack([torch.randn(tuple(shape[1:]), generator=one) for one in rng])


@dataclass(frozen=True)
class GaussianDiffusion:
    """Noise of images, what a network learns of it, and the way back.

    Parameters
    ----------
    schedule : {"cosine", "linear"}
        Signal-to-noise ratio over time; imagen-pytorch takes the cosine for the first two networks
        of a cascade.
    lowres_schedule : {"cosine", "linear"}
        The same for the noise that is added to an image of low resolution.
    lowres_noise : float
        Time of that noise when images are generated; in training it is drawn, one for a batch.
    snr_limit : float, optional
        Limit γ of the signal-to-noise ratio in the weights of the loss, min(SNR, γ) / SNR (Hang et
        al., arXiv:2303.09556); None for the plain squared error.
    """

    schedule: Schedule = "cosine"
    lowres_schedule: Schedule = "linear"
    lowres_noise: float = 0.2
    snr_limit: float | None = 5.0

    def log_snr(self, times: torch.Tensor) -> torch.Tensor:
        """Return the log signal-to-noise ratio.

        Parameters
        ----------
        times : torch.Tensor
            From 0 (hardly any noise) to 1 (noise alone).

        Returns
        -------
        torch.Tensor
            Of the same shape, in double precision.
        """
        return _log_snr(self.schedule, times)

    def noised(self, clean: torch.Tensor, times: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Add noise; what has unit variance keeps it.

        Parameters
        ----------
        clean, noise : torch.Tensor, shape (n, ...)
            Images, and normal noise.
        times : torch.Tensor, shape (n,)
            How much of it.
        """
        return _mixed(clean, noise, self.log_snr(times))

    def clean_estimate(
        self, noisy: torch.Tensor, times: torch.Tensor, noise: torch.Tensor
    ) -> torch.Tensor:
        """Return what is left of noisy images without a predicted noise; undoes `noised`."""
        alpha, sigma = _shares(self.log_snr(times), noisy)
        return (noisy - sigma * noise) / alpha.clamp(min=_LEAST_ALPHA)

    def posterior(
        self, clean: torch.Tensor, noisy: torch.Tensor, times: torch.Tensor, to: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and variance of less noisy images, given clean and noisy ones.

        Parameters
        ----------
        clean, noisy : torch.Tensor, shape (n, ...)
            Images, and the same with noise.
        times, to : torch.Tensor, shape (n,)
            Time of the noisy ones, and the earlier one that is asked for.

        Returns
        -------
        mean : torch.Tensor, shape (n, ...)
        variance : torch.Tensor, shape (n, 1, ...)
        """
        here, there = self.log_snr(times), self.log_snr(to)
        # All in double precision: near t = 1 the signal's share is below 1e-7.
        kept = _like(torch.exp(here - there), noisy)
        removed = _like(-torch.expm1(here - there), noisy)
        alpha, _ = (_like(share, noisy) for share in _double_shares(here))
        alpha_to, sigma_to = (_like(share, noisy) for share in _double_shares(there))
        mean = (alpha_to * kept / alpha).to(noisy.dtype) * noisy
        mean = mean + (alpha_to * removed).to(noisy.dtype) * clean
        return mean, (sigma_to.square() * removed).to(noisy.dtype)

    def loss(
        self,
        network: Denoiser,
        clean: torch.Tensor,
        rng: torch.Generator,
        lowres: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the weighted squared error of the predicted noise, each image at a random time.

        Parameters
        ----------
        network : Denoiser
            It predicts noise.
        clean : torch.Tensor, shape (n, ...)
            Images between -1 and 1, on the device of the network.
        rng : torch.Generator
            On the processor, from which times and noise are drawn.
        lowres : torch.Tensor, shape (n, ...), optional
            Images of low resolution, blown up to full size.
        """
        n = len(clean)
        times = torch.rand(n, generator=rng).to(clean.device)
        noise = sample_noise(clean.shape, rng).to(clean.device)
        known: tuple[torch.Tensor, ...] = ()
        if lowres is not None:
            time = torch.rand(1, generator=rng).to(clean.device).expand(n)
            known = self._noised_lowres(lowres, time, sample_noise(lowres.shape, rng))
        level = self.log_snr(times)
        noisy = _mixed(clean, noise, level)
        found = network(noisy, level.to(clean.dtype), *known)
        errors = (found.float() - noise).square().flatten(1).mean(1)
        if self.snr_limit is not None:
            errors = errors * (self.snr_limit / level.exp()).clamp(max=1.0).to(errors.dtype)
        return errors.mean()

    def sample(
        self,
        network: Denoiser,
        shape: Sequence[int],
        rng: Randomness,
        steps: int = 100,
        lowres: torch.Tensor | None = None,
        threshold: Threshold = "dynamic",
        device: str | torch.device = "cpu",
        task: str = "",
    ) -> torch.Tensor:
        """Generate images from noise.

        Parameters
        ----------
        network : Denoiser
            It predicts noise.
        shape : sequence of int
            Images, channels, and the rest.
        rng : torch.Generator or sequence of them
            On the processor, from which all noise is drawn: one, or one for each image.
        steps : int
            Times from 1 to 0 are as many equal steps apart.
        lowres : torch.Tensor, optional
            Images of low resolution, blown up to full size; noise is added here.
        threshold : {"dynamic", "static", "none"}
            See `denoise`.
        device : str or torch.device
            Of the network.
        task : str
            Name under which progress is told.

        Returns
        -------
        torch.Tensor
            On the device; between -1 and 1 unless nothing limits them.
        """
        noisy = sample_noise(shape, rng).to(device)
        return self.denoise(
            network, noisy, rng, steps, lowres=lowres, threshold=threshold, task=task
        )

    @torch.inference_mode()
    def denoise(
        self,
        network: Denoiser,
        noisy: torch.Tensor,
        rng: Randomness,
        steps: int,
        start: float = 1.0,
        noise: bool = True,
        lowres: torch.Tensor | None = None,
        threshold: Threshold = "dynamic",
        task: str = "",
    ) -> torch.Tensor:
        """Take images from one time to 0, step by step.

        Parameters
        ----------
        network : Denoiser
            It predicts noise.
        noisy : torch.Tensor, shape (n, ...)
            Images at the time `start`, on the device of the network.
        rng : torch.Generator or sequence of them
            On the processor.
        steps : int
            Equal steps of time.
        start : float
            Where to begin.
        noise : bool
            Whether noise is added on the way; without it, images go where the network points.
        lowres : torch.Tensor, optional
            As for `sample`.
        threshold : {"dynamic", "static", "none"}
            What is done to pixels of the predicted clean image beyond -1 and 1: all are divided by
            the 95th percentile of their magnitudes, where it is above 1, and cut there (Imagen,
            section 2.3; published); cut at 1; or nothing.
        task : str
            Name under which progress is told.

        Notes
        -----
        As published, the last step does not return the predicted clean image but the mean at t = 0,
        where a little noise is left: with 100 steps about 0.006.
        """
        known: tuple[torch.Tensor, ...] = ()
        if lowres is not None:
            time = torch.full((len(noisy),), self.lowres_noise, device=noisy.device)
            known = self._noised_lowres(lowres, time, sample_noise(lowres.shape, rng))
        times = torch.linspace(start, 0.0, steps + 1, dtype=torch.float64, device=noisy.device)
        times = times[:, None].expand(-1, len(noisy))
        x = noisy
        for here, there in pairwise(times):
            found = network(x, self.log_snr(here).to(x.dtype), *known).float()
            clean = limited(self.clean_estimate(x, here, found), threshold)
            x, variance = self.posterior(clean, x, here, there)
            if noise and there[0] > 0:
                x = x + variance.sqrt() * sample_noise(x.shape, rng).to(x.device)
            if task:
                report(task, 1, steps, "steps")
        return x if threshold == "none" else x.clamp(-1.0, 1.0)

    def _noised_lowres(
        self, lowres: torch.Tensor, times: torch.Tensor, noise: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return noisy images of low resolution and their log signal-to-noise ratio."""
        level = _log_snr(self.lowres_schedule, times)
        return _mixed(lowres, noise.to(lowres.device), level), level.to(lowres.dtype)


def limited(clean: torch.Tensor, threshold: Threshold) -> torch.Tensor:
    """Limit the pixels of predicted images; see `GaussianDiffusion.denoise`."""
    if threshold == "none":
        return clean
    if threshold == "static":
        return clean.clamp(-1.0, 1.0)
    # One by one: torch refuses quantiles of large tensors.
    limits = [torch.quantile(one.flatten().abs(), _QUANTILE) for one in clean]
    limit = _like(torch.stack(limits).clamp(min=1.0), clean)
    return clean.clamp(-limit, limit) / limit


def _log_snr(schedule: Schedule, times: torch.Tensor) -> torch.Tensor:
    return _SCHEDULES[schedule](times.double())


def _cosine(times: torch.Tensor) -> torch.Tensor:
    angle = (times + _COSINE_OFFSET) / (1 + _COSINE_OFFSET) * math.pi / 2
    return -torch.log(angle.tan().square().clamp(_LEAST_RATIO, _MOST_RATIO))


def _linear(times: torch.Tensor) -> torch.Tensor:
    return -torch.log(torch.expm1(1e-4 + 10 * times.square()))


_SCHEDULES: dict[Schedule, Callable[[torch.Tensor], torch.Tensor]] = {
    "cosine": _cosine,
    "linear": _linear,
}


def _mixed(clean: torch.Tensor, noise: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
    """Mix images and noise at a log signal-to-noise ratio."""
    alpha, sigma = _shares(level, clean)
    return alpha * clean + sigma * noise


def _shares(level: torch.Tensor, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the shares of signal and noise, which spread over images of their precision."""
    alpha, sigma = _double_shares(level)
    return _like(alpha, images).to(images.dtype), _like(sigma, images).to(images.dtype)


def _double_shares(level: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return level.sigmoid().sqrt(), (-level).sigmoid().sqrt()


def _like(values: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """Give one value for each image the dimensions of the images."""
    return values.reshape(-1, *[1] * (images.ndim - 1))
