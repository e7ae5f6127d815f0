"""The network: its symmetries, its size, and an independent transcription of its equations."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from dismaiflow.models.diffcsp.learner import make_network  # noqa: E402
from dismaiflow.models.diffcsp.network import CSPNet, time_features  # noqa: E402
from dismaiflow.models.diffcsp.settings import diffcsp_settings  # noqa: E402


@pytest.fixture(scope="module")
def network() -> CSPNet:
    torch.manual_seed(0)
    return CSPNet(hidden=16, layers=2, n_frequencies=4, time_dim=8).double()


@pytest.fixture
def inputs() -> tuple:
    rng = torch.Generator().manual_seed(1)
    times = torch.tensor([3, 700])
    numbers = torch.tensor([[26, 26, 28, 24, 24], [24, 26, 28, 28, 1]])
    fractions = torch.rand((2, 5, 3), generator=rng, dtype=torch.float64)
    cells = 4 * torch.eye(3, dtype=torch.float64) + 0.5 * torch.rand(
        (2, 3, 3), generator=rng, dtype=torch.float64
    )
    return times, numbers, fractions, cells


def close(found: tuple, wanted: tuple) -> None:
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-10)


def test_a_translation_of_all_atoms_changes_nothing(network: CSPNet, inputs: tuple) -> None:
    times, numbers, fractions, cells = inputs
    moved = (fractions + torch.tensor([0.31, -0.7, 0.11])) % 1
    close(network(times, numbers, moved, cells), network(*inputs))


def test_whole_cells_for_single_atoms_change_nothing(network: CSPNet, inputs: tuple) -> None:
    times, numbers, fractions, cells = inputs
    steps = torch.randint(-2, 3, fractions.shape, generator=torch.Generator().manual_seed(2))
    close(network(times, numbers, fractions + steps, cells), network(*inputs))


def test_permuted_atoms_are_moved_as_before(network: CSPNet, inputs: tuple) -> None:
    times, numbers, fractions, cells = inputs
    order = torch.tensor([3, 0, 4, 2, 1])
    found, cell = network(times, numbers[:, order], fractions[:, order], cells)
    wanted, wanted_cell = network(*inputs)
    close((found, cell), (wanted[:, order], wanted_cell))


def test_a_rotated_cell_turns_its_own_noise_only(network: CSPNet, inputs: tuple) -> None:
    times, numbers, fractions, cells = inputs
    turn, _ = torch.linalg.qr(
        torch.randn((3, 3), generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    )
    found, cell = network(times, numbers, fractions, cells @ turn)
    wanted, wanted_cell = network(*inputs)
    close((found, cell), (wanted, wanted_cell @ turn))


def naive(network: CSPNet, times, numbers, fractions, cells) -> tuple:
    """Go through all edges one by one, as the equations are written."""
    silu = torch.nn.functional.silu
    n, n_atoms = numbers.shape
    coordinates, lattices = [], []
    for s in range(n):
        angle = times[s].float() * torch.exp(
            -math.log(10000) / (network.time_dim // 2 - 1)
            * torch.arange(network.time_dim // 2, dtype=torch.float32)
        )  # fmt: skip
        time = torch.cat([angle.sin(), angle.cos()]).to(fractions.dtype)
        nodes = [
            network.enter(torch.cat([network.species.weight[z - 1], time])) for z in numbers[s]
        ]
        metric = (cells[s] @ cells[s].T).reshape(9)
        for layer in network.layers:
            normed = [layer.norm(h) for h in nodes]
            new = []
            for i in range(n_atoms):
                total = torch.zeros_like(nodes[0])
                for j in range(n_atoms):
                    apart = (fractions[s, j] - fractions[s, i]) % 1
                    waves = [
                        2 * math.pi * k * x for x in apart for k in range(network.n_frequencies)
                    ]
                    sines = torch.stack([w.sin() for w in waves])
                    cosines = torch.stack([w.cos() for w in waves])
                    edge = torch.cat([normed[i], normed[j], metric, sines, cosines])
                    total = total + silu(layer.edge_out(silu(layer.edge_in(edge))))
                node = torch.cat([normed[i], total / n_atoms])
                new.append(nodes[i] + silu(layer.node_out(silu(layer.node_in(node)))))
            nodes = new
        last = torch.stack([network.norm(h) for h in nodes])
        coordinates.append(last @ network.coordinates.weight.T)
        lattices.append((network.lattice.weight @ last.mean(0)).reshape(3, 3) @ cells[s])
    return torch.stack(coordinates), torch.stack(lattices)


def test_the_same_as_edge_by_edge(network: CSPNet, inputs: tuple) -> None:
    close(network(*inputs), naive(network, *inputs))


def test_gradients_of_the_weights_are_the_same(network: CSPNet, inputs: tuple) -> None:
    """Both ways of adding up."""
    gradients = []
    for way in (network, lambda *given: naive(network, *given)):
        network.zero_grad()
        first, second = way(*inputs)
        (first.square().sum() + second.square().sum()).backward()
        gradients.append([p.grad.clone() for p in network.parameters() if p.grad is not None])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-9)


def test_weights_at_the_papers_size() -> None:
    """By hand: 100 species and time into 256 channels, four layers, two heads."""
    embedding = 100 * 256 + (256 + 256) * 256 + 256
    edge = (2 * 256 + 9 + 2 * 3 * 128) * 256 + 256 + 256 * 256 + 256
    node = 2 * 256 * 256 + 256 + 256 * 256 + 256
    heads = 2 * 256 + 3 * 256 + 9 * 256
    network = make_network(diffcsp_settings({}))
    count = sum(p.numel() for p in network.parameters())
    assert count == embedding + 4 * (edge + node + 2 * 256) + heads == 2_535_168


def test_time_features_of_the_first_step() -> None:
    """Rates fall from 1 to 1/10000."""
    found = time_features(torch.tensor([1]), 4)[0]
    wanted = [math.sin(1), math.sin(1e-4), math.cos(1), math.cos(1e-4)]
    assert found.tolist() == pytest.approx(wanted, abs=1e-6)
