"""The decoder of CDVAE."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase.build import bulk
from hypothesis import given, settings

from dismaiflow.models.cdvae.basis import GaussianRadial, envelope
from dismaiflow.models.cdvae.decoder import Decoder
from dismaiflow.models.cdvae.gemnet_layers import Scales
from dismaiflow.models.cdvae.graph import find_graph, measure

from .crystals import (
    difficult_crystals,
    filled,
    padded,
    random_crystals,
    reference_crystals,
    views,
)


def small(cutoff=4.0, k=40):
    """A small decoder, which tells species."""
    return filled(
        Decoder(
            6,
            8,
            blocks=2,
            interaction=8,
            basis=4,
            n_radial=10,
            n_spherical=4,
            cutoff=cutoff,
            n_neighbors=k,
            species_denoising=True,
            n_species=30,
        )
    )


def latent(n=2):
    """Latent vectors for it."""
    return torch.cos(torch.arange(6.0 * n, dtype=torch.float64)).view(n, 6)


def test_has_as_many_weights_as_the_paper_but_for_unused_ones():
    # The published module has 2,332,288. In each of its four output blocks 16 x 128 + 7 x 128^2 +
    # 128 belong to an energy that is thrown away.
    count = sum(weight.numel() for weight in Decoder().parameters())
    assert count == 2_332_288 - 4 * (16 * 128 + 7 * 128**2 + 128)


def test_result_is_that_of_the_published_code():
    # GemNetTDecoder of the published code with these weights and scale factors; all edges there
    # have their counterparts.
    crystals = reference_crystals()
    vectors, species = small(4.2)(latent(), *crystals)
    expected = [
        [
            [0.2507813, -0.1213452, 0.46738806],
            [0.04415749, -0.06529681, -0.03162338],
            [-0.0438931, 0.52749003, 0.22551903],
            [-0.21264702, -0.14190382, -0.48619967],
        ],
        [
            [0.11956715, 0.01647817, 0.05103562],
            [0.60319843, 0.4871282, 0.03630437],
            [-0.20150448, -0.00839577, -0.01714184],
            [-0.62842205, -0.92183664, -0.07899054],
        ],
    ]
    np.testing.assert_allclose(vectors.detach().numpy(), expected, atol=2e-8)
    first = [1.7270712, 0.73267192, 1.72200042, 1.70681258]
    np.testing.assert_allclose(species[0, :, 0].detach().numpy(), first, atol=2e-8)


# With 8 neighbours some edges lead one way only; with 40 all within the cutoff are there.
@pytest.mark.parametrize("k", [8, 40])
@settings(max_examples=8, deadline=None)
@given(views())
def test_vectors_turn_with_the_crystal(k, view):
    decoder, crystals = small(k=k), random_crystals(0)
    with torch.no_grad():
        here, known = decoder(latent(), *crystals)
        there, seen = decoder(latent(), *view.of(crystals))
    scale = float(here.abs().max())
    assert scale > 1e-3
    turned = here[:, view.order] @ view.rotation.T
    torch.testing.assert_close(there, turned, rtol=0, atol=1e-10 * scale)
    torch.testing.assert_close(seen, known[:, view.order], rtol=0, atol=1e-9)


@settings(max_examples=4, deadline=None)
@given(views())
def test_vectors_turn_in_single_precision_too(view):
    decoder, crystals = small(k=8).float(), random_crystals(0)
    here, there = (
        decoder(latent().float(), each.fractions.float(), each.numbers, each.cells.float())[0]
        for each in (crystals, view.of(crystals))
    )
    turned = here[:, view.order] @ view.rotation.T.float()
    torch.testing.assert_close(there, turned, rtol=0, atol=1e-4)


def test_lattice_of_one_species_is_at_rest():
    # Each atom is a centre of inversion of the lattice and of its 18 nearest atoms.
    atoms = bulk("Ni", "fcc", a=3.57, cubic=True).repeat(2)
    fractions = torch.tensor(atoms.get_scaled_positions())[None]
    cells, numbers = torch.tensor(atoms.cell[:])[None], torch.tensor(atoms.numbers)[None]
    decoder = small(k=18)
    assert decoder(latent(1), fractions, numbers, cells)[0].abs().max() < 1e-12
    fractions[0, 0, 0] += 0.02
    assert decoder(latent(1), fractions, numbers, cells)[0].abs().max() > 1e-4


def test_latent_vector_matters_for_its_own_crystal_only():
    decoder, crystals = small(k=8), random_crystals(5)
    z = latent()
    before, _ = decoder(z, *crystals)
    z[1] += 1
    after, _ = decoder(z, *crystals)
    assert torch.equal(before[0], after[0])
    assert (before[1] - after[1]).abs().max() > 1e-4


def test_places_without_neighbours_do_not_matter():
    decoder, crystals = small(k=8), random_crystals(1)
    graph = find_graph(crystals.fractions, crystals.cells, 4.0, 8)
    found = decoder(latent(), *crystals, padded(graph))
    for here, there in zip(found, decoder(latent(), *crystals), strict=True):
        torch.testing.assert_close(here, there)


def test_gradients_are_finite_without_neighbours_and_for_coincident_atoms():
    decoder, crystals = small().float(), difficult_crystals()
    inputs = [part.clone().requires_grad_() for part in (crystals.fractions, crystals.cells)]
    z = latent().float().requires_grad_()
    vectors, species = decoder(z, inputs[0], crystals.numbers, inputs[1])
    (vectors.square().sum() + species.square().sum()).backward()
    assert not vectors[1].any()
    assert vectors[0].any()
    for each in (z, *inputs, *decoder.parameters()):
        assert torch.isfinite(each.grad).all()


def test_gradient_is_that_of_finite_differences():
    decoder, crystals = small(), random_crystals(2, n_atoms=3, n=1)
    graph = find_graph(crystals.fractions, crystals.cells, 4.0, 40)

    def of_geometry(z, fractions, cells):
        return decoder(z, fractions, crystals.numbers, cells, graph)[0]

    inputs = [latent(1), crystals.fractions, crystals.cells]
    inputs = [each.requires_grad_() for each in inputs]
    assert torch.autograd.gradcheck(of_geometry, inputs, eps=1e-7, atol=1e-4)


def test_angles_are_those_of_a_loop():
    decoder, crystals = small(k=7), random_crystals(3, n_atoms=2, n=1)
    graph = find_graph(crystals.fractions, crystals.cells, 4.0, 7)
    edges = measure(graph, crystals.fractions, crystals.cells, 4.0)
    found = decoder.angles(edges).view(1, 2, 7, 4, 7)
    for atom, s, t in np.ndindex(2, 7, 7):
        cosine = np.cos(
            np.arccos(np.clip(edges.units[0, atom, s] @ edges.units[0, atom, t], -1, 1))
        )
        legendre = np.array([1, cosine, (3 * cosine**2 - 1) / 2, (5 * cosine**3 - 3 * cosine) / 2])
        expected = (s != t) * np.sqrt(np.array([1, 3, 5, 7]) / (4 * np.pi)) * legendre
        np.testing.assert_allclose(found[0, atom, s, :, t].numpy(), expected, atol=1e-7)


@pytest.mark.parametrize("rattle", [0.05, 3.0])
def test_scales_keep_variances_of_a_new_network(rattle):
    torch.manual_seed(0)
    decoder = Decoder(16, 64)
    atoms = bulk("Ni", "fcc", a=3.57, cubic=True).repeat(2)
    atoms.rattle(rattle, seed=1)
    spreads = {"product": [], "triplets": [], "total": []}

    def watch(module, kind, arguments=True):
        def note(_, given, out):
            spreads[kind].append(float((given[0] if arguments else out).detach().std()))

        module.register_forward_hook(note)

    for block in decoder.interactions:
        watch(block.triplets.enter, "product", arguments=False)
        watch(block.triplets.down, "product")
        watch(block.triplets.down, "triplets", arguments=False)
        watch(block.triplets.up, "triplets")
        watch(block.after, "total", arguments=False)
        watch(block.atoms.layers, "total")
    decoder(
        torch.randn(1, 16),
        torch.tensor(atoms.get_scaled_positions(), dtype=torch.float32)[None],
        torch.randint(1, 100, (1, len(atoms))),
        torch.tensor(atoms.cell[:], dtype=torch.float32)[None],
    )
    for kind, most in (("product", 1.5), ("triplets", 2.0), ("total", 3.0)):
        before, after = np.array(spreads[kind]).reshape(-1, 2).T
        assert len(before) == 3
        assert (after / before > 0.5).all()
        assert (after / before < most).all()


def test_scales_are_near_the_fitted_ones():
    # Medians of the published gemnet-dT.json, fitted with 50 neighbours within 6 Å.
    scales = Scales.of(128, 6.0, 5, 50)
    assert scales.product == pytest.approx(15, rel=0.5)
    assert scales.triplets == pytest.approx(7.6, rel=0.5)


def test_envelope_ends_smoothly():
    x = torch.tensor([0.0, 0.5, 1.0, 1.5])
    # At one half: 1 - 21/32 + 35/64 - 15/128.
    np.testing.assert_allclose(envelope(x, 5), [1, 0.7734375, 0, 0], atol=1e-6)
    end = torch.tensor(1.0 - 1e-3, dtype=torch.float64)
    # Slope and curvature vanish: what is left is of third order.
    assert 0 < envelope(end, 5) < 1e-7


def test_gaussians_by_hand():
    # Centres 0, 2 and 4 Å, width 2 Å; at 2 Å the envelope is that of one half.
    found = GaussianRadial(3, 4.0, 5)(torch.tensor([2.0]))
    side = 0.7734375 * np.exp(-0.5)
    np.testing.assert_allclose(found.numpy(), [[side, 0.7734375, side]], rtol=1e-6)
