"""The encoder of CDVAE and the functions that it expands on."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import eval_legendre, spherical_jn

from dismaiflow.models.cdvae.basis import (
    BesselRadial,
    SphericalRadial,
    bessel_zeros,
    harmonics,
    spherical_bessel,
)
from dismaiflow.models.cdvae.encoder import Encoder
from dismaiflow.models.cdvae.graph import find_graph, measure

from .crystals import (
    difficult_crystals,
    filled,
    padded,
    random_crystals,
    reference_crystals,
    views,
)


def small(cutoff=4.0):
    """A small encoder."""
    return filled(
        Encoder(
            5,
            hidden=8,
            blocks=2,
            interaction=6,
            basis=4,
            output=10,
            output_layers=2,
            n_spherical=4,
            n_radial=3,
            cutoff=cutoff,
        )
    )


def test_has_as_many_weights_as_the_paper():
    # 2.21 million; the published module has 2,213,510 and knows 95 species instead of 100.
    count = sum(weight.numel() for weight in Encoder().parameters())
    assert count == 2_213_510 + 5 * 128


def test_result_is_that_of_the_published_code():
    # DimeNetPlusPlusWrap of the published code and of torch_geometric 2.8.1, with these weights.
    crystals = reference_crystals()
    graph = find_graph(crystals.fractions, crystals.cells, 3.2, 40)
    found = small(3.2)(*crystals, graph)
    expected = [
        [0.00261573, -2.34994788, 1.29062328, 1.63968346, -2.19298483],
        [-0.41179029, -2.03541875, 1.53193553, 1.19235376, -2.18811961],
    ]
    # It leaves out triplets by way of two images of an atom, which are almost at the cutoff here.
    np.testing.assert_allclose(found.detach().numpy(), expected, atol=1e-5)


# With 8 neighbours some edges lead one way only; with 40 all within the cutoff are there.
@pytest.mark.parametrize("k", [8, 40])
@settings(max_examples=8, deadline=None)
@given(views())
def test_does_not_depend_on_axes_origin_order_and_images(k, view):
    encoder, crystals = small(), random_crystals(0)
    seen = view.of(crystals)
    with torch.no_grad():
        here, there = (
            encoder(*each, find_graph(each.fractions, each.cells, 4.0, k))
            for each in (crystals, seen)
        )
    torch.testing.assert_close(there, here, rtol=0, atol=1e-10 * float(here.abs().max()))
    # It does depend on the crystals.
    assert float((here[0] - here[1]).abs().max()) > 1e-3


def test_places_without_neighbours_do_not_matter():
    encoder, crystals = small(), random_crystals(1)
    graph = find_graph(crystals.fractions, crystals.cells, 4.0, 8)
    torch.testing.assert_close(encoder(*crystals, padded(graph)), encoder(*crystals, graph))


def test_gradients_are_finite_without_neighbours_and_for_coincident_atoms():
    encoder, crystals = small().float(), difficult_crystals()
    graph = find_graph(crystals.fractions, crystals.cells, 4.0, 5)
    assert not graph.mask[1].any()
    inputs = [part.clone().requires_grad_() for part in (crystals.fractions, crystals.cells)]
    out = encoder(inputs[0], crystals.numbers, inputs[1], graph)
    out.square().sum().backward()
    assert torch.isfinite(out).all()
    for each in (*inputs, *encoder.parameters()):
        assert torch.isfinite(each.grad).all()


def test_gradient_is_that_of_finite_differences():
    encoder, crystals = small(), random_crystals(2, n_atoms=3, n=1)
    graph = find_graph(crystals.fractions, crystals.cells, 4.0, 40)

    def of_geometry(fractions, cells):
        return encoder(fractions, crystals.numbers, cells, graph)

    inputs = crystals.fractions.requires_grad_(), crystals.cells.requires_grad_()
    assert torch.autograd.gradcheck(of_geometry, inputs, eps=1e-7, atol=1e-4)


def test_triplets_are_those_of_a_loop():
    encoder = Encoder(2, hidden=4, n_spherical=3, n_radial=2, cutoff=3.5)
    crystals = random_crystals(4, n_atoms=2, edge=3.0, n=1)
    graph = find_graph(crystals.fractions, crystals.cells, 3.5, 7)
    found = encoder.triplets(graph, measure(graph, crystals.fractions, crystals.cells, 3.5))
    positions = (crystals.fractions @ crystals.cells)[0].numpy()
    cell = crystals.cells[0].numpy()
    # Zeros of j_0, j_1 and j_2: multiples of pi, and from Abramowitz and Stegun, table 10.6.
    zeros = [(math.pi, 2 * math.pi), (4.493409458, 7.725251837), (5.763459197, 9.095011330)]
    for i, s, t in np.ndindex(2, 7, 7):
        j = int(graph.atoms[0, i, s])
        if not graph.mask[0, i, s]:
            continue
        if not graph.mask[0, j, t]:
            assert not found[0, i, s, t].any()
            continue
        shift, onward = (row.numpy() for row in (graph.shifts[0, i, s], graph.shifts[0, j, t]))
        back = positions[i] - positions[j] - shift @ cell
        away = positions[int(graph.atoms[0, j, t])] + onward @ cell - positions[j]
        length = np.linalg.norm(away)
        same = np.allclose(back, away)
        cosine = np.cos(np.arccos(np.clip(back @ away / np.linalg.norm(back) / length, -1, 1)))
        x = length / 3.5
        smooth = 1 / x - 28 * x**5 + 48 * x**6 - 21 * x**7
        expected = [
            0.0
            if same
            else smooth
            * math.sqrt(2)
            / abs(spherical_jn(order + 1, zero))
            * spherical_jn(order, zero * x)
            * math.sqrt((2 * order + 1) / (4 * math.pi))
            * eval_legendre(order, cosine)
            for order in range(3)
            for zero in zeros[order]
        ]
        np.testing.assert_allclose(found[0, i, s, t].numpy(), expected, rtol=1e-6, atol=1e-7)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 9), st.floats(1e-4, 60.0))
def test_bessel_functions_are_those_of_scipy(order, x):
    found = spherical_bessel(order, torch.tensor([x], dtype=torch.float64))
    np.testing.assert_allclose(found.numpy(), [spherical_jn(order, x)], rtol=1e-9, atol=1e-13)


def test_bessel_zeros_are_zeros_without_gaps():
    zeros = bessel_zeros(7, 6)
    np.testing.assert_allclose(zeros[1, :3], [4.493409458, 7.725251837, 10.904121659])
    for order, row in enumerate(zeros):
        # As many changes of sign up to the last zero as there are zeros.
        signs = np.sign(spherical_jn(order, np.linspace(0.01, row[-1] + 0.1, 5000)))
        assert (np.diff(signs) != 0).sum() == 6
        np.testing.assert_allclose(spherical_jn(order, row), 0, atol=1e-12)


def test_harmonics_are_orthonormal_on_the_sphere():
    # Exact for polynomials up to degree 39.
    cosines, weights = np.polynomial.legendre.leggauss(20)
    values = harmonics(7, torch.tensor(cosines)).numpy()
    overlap = 2 * np.pi * (values * weights[:, None]).T @ values
    np.testing.assert_allclose(overlap, np.eye(7), atol=1e-12)
    assert harmonics(1, torch.zeros(3)).shape == (3, 1)


def test_spherical_basis_is_orthonormal_but_for_the_envelope():
    basis = SphericalRadial(3, 4, 5.0, 5)
    x = (torch.arange(20000, dtype=torch.float64) + 0.5) / 20000
    smooth = 1 / x - 28 * x**5 + 48 * x**6 - 21 * x**7
    values = basis(5.0 * x) / smooth[:, None, None]
    overlap = torch.einsum("xln,xlm,x->lnm", values, values, x**2) / 20000
    np.testing.assert_allclose(overlap, np.broadcast_to(np.eye(4), (3, 4, 4)), atol=1e-4)


def test_radial_basis_by_hand():
    # At half the cutoff: 2 - 28/32 + 48/64 - 21/128 = 1.7109375; sines of pi/2, pi, 3 pi/2.
    found = BesselRadial(3, 6.0, 5)(torch.tensor([3.0, 6.0, 8.0])).detach().numpy()
    expected = [[1.7109375, 0, -1.7109375], [0, 0, 0], [0, 0, 0]]
    np.testing.assert_allclose(found, expected, atol=1e-6)
