"""The U-Nets of images and of videos as a whole."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dismaiflow.errors import DismaiError
from dismaiflow.models.nn.unet import UNet2d, UNet3d

SMALL = {"dim": 16, "dim_mults": (1, 2), "blocks": (1, 1), "heads": 2, "head_dim": 4, "groups": 4}
SMALL |= {"attention": (False, True), "cross_attention": (False, True)}

#: The second network of CrysTens, as the paper trained it.
SUPER_RESOLUTION = {
    "blocks": (2, 4, 8),
    "attention": (False, False, True),
    "cross_attention": (False, False, True),
    "lowres": True,
    "memory_efficient": True,
}


def shaken(network, seed=1):
    """Move every parameter: some begin as zero, and so would what is behind them."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return network.eval()


def networks():
    """One network of each kind with its inputs, of two items."""
    torch.manual_seed(0)
    images, videos = torch.randn(2, 4, 8, 8), torch.randn(2, 3, 5, 4, 4)
    levels, more_levels = torch.tensor([1.5, -4.0]), torch.tensor([2.5, 0.5])
    base = UNet2d(**SMALL, linear_attention=True)
    second = UNet2d(**SMALL, lowres=True, memory_efficient=True)
    return {
        "base": (base, (images, levels)),
        "super-resolution": (second, (images, levels, torch.randn(2, 4, 8, 8), more_levels)),
        "video": (UNet3d(**SMALL), (videos, levels)),
    }


KINDS = ["base", "super-resolution", "video"]


@cache
def _paper(kind):
    """Return a network of the paper's size, without memory for its parameters."""
    with torch.device("meta"):
        if kind == "video":
            return UNet3d()
        return UNet2d(linear_attention=True) if kind == "base" else UNet2d(**SUPER_RESOLUTION)


@pytest.mark.parametrize(
    ("kind", "published", "gates"),
    [
        ("base", 18_952_607, 3 * 3 + 3 * 3 + 1),
        ("super-resolution", 47_100_354, 14 + 14 + 2),
        ("video", 23_083_422, 3 * 3 + 3 * 3 + 1),
    ],
)
def test_parameters_are_those_of_the_published_networks(kind, published, gates):
    # Counted on imagen-pytorch 1.26.2, less what it keeps for text (attn_pool and null_text_*) and
    # less the bias null_attn_bias of attentions that have none; each gate of ours lacks one bias.
    found = sum(parameter.numel() for parameter in _paper(kind).parameters())
    assert found == published - gates


def _fill(network):
    """Give every parameter values that depend on its shape alone."""
    for parameter in network.parameters():
        place = torch.arange(parameter.numel(), dtype=torch.float64)
        wave = torch.sin(1.7 * place + parameter.numel()).reshape(parameter.shape)
        fan = parameter.numel() / len(parameter)
        parameter.data = (wave * fan**-0.5 if parameter.ndim > 1 else 0.6 + 0.4 * wave).float()
    return network.eval()


def _waves(*shape, step):
    n = torch.Size(shape).numel()
    return torch.sin(step * torch.arange(n, dtype=torch.float64)).reshape(shape).float()


# The first and the last value and the mean square of each item, of imagen-pytorch 1.26.2 when it
# was given the same parameters.
PUBLISHED = {
    "base": [
        (-0.06405442953109741, 0.9021356105804443, 0.3886768153838114),
        (-0.04977419972419739, 0.8295767307281494, 0.38349523642799743),
    ],
    "super-resolution": [
        (0.31920313835144043, 0.685930073261261, 0.5075377480306337),
        (-0.041915420442819595, 0.4263034760951996, 0.5305155297096515),
    ],
    "video": [
        (0.4219183027744293, 1.1025848388671875, 0.6441921646850891),
        (0.38131949305534363, 1.1051028966903687, 0.6306784603538635),
    ],
}


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_are_those_of_the_published_networks(kind):
    levels = torch.tensor([1.5, -4.0])
    images = _waves(2, 4, 8, 8, step=0.7)
    if kind == "base":
        out = _fill(UNet2d(dim=16, blocks=(1, 1, 1), linear_attention=True))(images, levels)
    elif kind == "super-resolution":
        network = _fill(UNet2d(dim=16, **(SUPER_RESOLUTION | {"blocks": (1, 2, 1)})))
        lowres = _waves(2, 4, 8, 8, step=0.3)
        out = network(images, levels, lowres, torch.tensor([2.5, 0.5]))
    else:
        out = _fill(UNet3d(dim=16, blocks=(1, 1, 1)))(_waves(2, 3, 5, 4, 4, step=0.7), levels)
    for item, expected in zip(out.detach(), PUBLISHED[kind], strict=True):
        flat = item.flatten()
        found = (flat[0].item(), flat[-1].item(), flat.double().square().mean().item())
        assert found == pytest.approx(expected, abs=5e-5)


def test_images_and_videos_of_the_paper_fit():
    levels = torch.empty(2, device="meta")
    images = torch.empty(2, 4, 64, 64, device="meta")
    assert _paper("base")(images, levels).shape == images.shape
    images = torch.empty(2, 4, 288, 288, device="meta")
    assert _paper("super-resolution")(images, levels, images, levels).shape == images.shape
    videos = torch.empty(2, 3, 264, 4, 4, device="meta")
    assert _paper("video")(videos, levels).shape == videos.shape


@pytest.mark.parametrize("frames", [1, 2, 40])
def test_any_number_of_frames_is_taken(frames):
    videos = torch.randn(1, 3, frames, 4, 4)
    out = shaken(UNet3d(**SMALL))(videos, torch.zeros(1))
    assert out.shape == videos.shape
    assert out.isfinite().all()


@pytest.mark.parametrize("efficient", [False, True])
@pytest.mark.parametrize("mults", [(2, 3), (3, 1)])
def test_sizes_may_have_any_channels(mults, efficient):
    network = UNet2d(**(SMALL | {"dim_mults": mults}), memory_efficient=efficient)
    images = torch.randn(1, 4, 8, 8)
    assert network(images, torch.zeros(1)).shape == images.shape


def test_images_need_not_be_square():
    images = torch.randn(1, 4, 16, 4)
    assert UNet2d(**SMALL)(images, torch.zeros(1)).shape == images.shape


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_predicted_before_training(kind):
    network, inputs = networks()[kind]
    assert (network(*inputs) == 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_every_input_matters(kind):
    network, inputs = networks()[kind]
    shaken(network)
    out = network(*inputs)
    for i, given_input in enumerate(inputs):
        changed = [*inputs[:i], given_input + 0.5, *inputs[i + 1 :]]
        assert (network(*changed) - out).abs().amax() > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_items_do_not_see_each_other(kind):
    network, inputs = networks()[kind]
    shaken(network).double()
    inputs = [given_input.double() for given_input in inputs]
    together = network(*inputs)
    for i in range(2):
        alone = network(*(given_input[i : i + 1] for given_input in inputs))
        assert torch.allclose(together[i], alone[0], atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_a_gradient_reaches_every_parameter(kind):
    network, inputs = networks()[kind]
    shaken(network)(*inputs).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 1e-5, name


@pytest.mark.parametrize("kind", KINDS)
def test_seeds_repeat_bit_for_bit(kind):
    outputs, gradients = [], []
    for _ in range(2):
        network, inputs = networks()[kind]
        out = shaken(network).train()(*inputs)
        out.square().sum().backward()
        outputs.append(out)
        gradients.append([parameter.grad for parameter in network.parameters()])
    assert torch.equal(*outputs)
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_each_frame_knows_of_the_others():
    network, (videos, levels) = networks()["video"]
    out = shaken(network)(videos, levels)
    for frame in (0, 4):
        changed = videos.clone()
        changed[:, :, frame] += 1
        moved = (network(changed, levels) - out).abs().amax(dim=(0, 1, 3, 4))
        assert (moved > 1e-4).all()


def test_the_order_of_frames_matters():
    network, (videos, levels) = networks()["video"]
    out = shaken(network)(videos, levels)
    assert (network(videos.flip(2), levels).flip(2) - out).abs().max() > 1e-2


@cache
def _small(efficient):
    with torch.device("meta"):
        return UNet2d(**SMALL, memory_efficient=efficient)


@settings(max_examples=15, deadline=None)
@given(height=st.integers(1, 40), width=st.integers(1, 40), efficient=st.booleans())
def test_sizes_that_cannot_be_halved_are_told(height, width, efficient):
    divisor = 4 if efficient else 2
    network = _small(efficient)
    images, levels = torch.empty(1, 4, height, width), torch.empty(1)
    images, levels = images.to("meta"), levels.to("meta")
    if height % divisor == 0 and width % divisor == 0:
        assert network(images, levels).shape == images.shape
        return
    with pytest.raises(DismaiError, match=rf"{height} x {width} .* multiples of {divisor};"):
        network(images, levels)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"blocks": (1,)}, "blocks of a U-Net has 1 entries, dim_mults has 2"),
        ({"attention": (True,) * 3}, "attention of a U-Net has 3 entries"),
        ({"cross_attention": ()}, "cross_attention of a U-Net has 0 entries"),
        ({"dim": 18}, "make it a multiple of 4"),
        ({"dim": 2, "groups": 2}, "at least 4"),
        ({"dim_mults": ()}, "dim_mults of a U-Net is empty"),
    ],
)
@pytest.mark.parametrize("kind", [UNet2d, UNet3d])
def test_settings_that_do_not_fit_are_told(kind, changes, said):
    with pytest.raises(DismaiError, match=said):
        kind(**(SMALL | changes))


def test_low_resolution_comes_with_its_level():
    images, levels = torch.randn(1, 4, 8, 8), torch.zeros(1)
    with pytest.raises(ValueError, match="does not take"):
        UNet2d(**SMALL)(images, levels, images, levels)
    for given_inputs in ((), (images,), (None, levels)):
        with pytest.raises(ValueError, match="takes images of low resolution and their level"):
            UNet2d(**SMALL, lowres=True)(images, levels, *given_inputs)
