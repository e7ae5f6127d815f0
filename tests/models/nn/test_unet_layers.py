"""The parts of the U-Nets, each against its definition written out."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from dismaiflow.models.nn.unet.attention import (
    CrossAttention,
    FrameAttention,
    LinearAttention,
    SelfAttention,
)
from dismaiflow.models.nn.unet.blocks import (
    BetweenFrames,
    BlockSettings,
    FeedForward,
    ResidualBlock,
    Told,
)
from dismaiflow.models.nn.unet.layers import (
    ChannelGate,
    FrameConv,
    Grow,
    Level,
    ManyScalesConv,
    PastConv,
    PixelNorm,
    Shrink,
)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def n_parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def shaken(module):
    """Move every parameter, so that none is zero or one any more."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return module


@settings(max_examples=25, deadline=None)
@given(
    kernel=st.sampled_from([3, 7, 15]),
    frames=st.integers(1, 3),
    height=st.integers(1, 9),
    width=st.integers(1, 17),
)
def test_frame_conv_is_that_of_each_padded_frame(kernel, frames, height, width):
    conv = FrameConv(3, 4, kernel)
    x = torch.randn(2, frames, height, width, 3)
    out = conv(x)
    for f in range(frames):
        padded = functional.pad(x[:, f].permute(0, 3, 1, 2), [kernel // 2] * 4)
        expected = functional.conv2d(padded, conv.weight, conv.bias)
        assert torch.allclose(out[:, f], expected.permute(0, 2, 3, 1), atol=1e-5)


def test_many_scales_conv_has_half_its_channels_from_the_smallest_kernel():
    # 3 -> 4, 2 and 2 channels with kernels of 3, 7 and 15, and 8 biases.
    assert n_parameters(ManyScalesConv(3, 8)) == 3 * (4 * 9 + 2 * 49 + 2 * 225) + 8


def test_past_conv_sums_three_frames():
    conv = PastConv(2)
    x = torch.randn(1, 4, 2, 3, 2)
    out = conv(x)
    for f in range(4):
        expected = conv.bias.expand(2, 3, 2)
        for back in range(min(f, 2) + 1):
            expected = expected + x[0, f - back] @ conv.weight[:, :, 2 - back].T
        assert torch.allclose(out[0, f], expected, atol=1e-6)


def test_pixel_norm_is_over_all_frames_of_a_group():
    norm = shaken(PixelNorm(2, 4))
    x = 3 + 2 * torch.randn(2, 3, 2, 2, 4)
    groups = x.unflatten(-1, (2, 2))
    mean = groups.mean(dim=(1, 2, 3, 5), keepdim=True)
    spread = (groups - mean).square().mean(dim=(1, 2, 3, 5), keepdim=True).sqrt()
    expected = ((groups - mean) / spread).flatten(-2) * norm.weight + norm.bias
    assert torch.allclose(norm(x), expected, atol=1e-4)


def test_shrink_makes_one_pixel_of_four():
    shrink, x = Shrink(2, 3), torch.randn(1, 2, 4, 6, 2)
    out = shrink(x)
    assert out.shape == (1, 2, 2, 3, 3)
    block = torch.cat([x[0, 1, 2, 4], x[0, 1, 2, 5], x[0, 1, 3, 4], x[0, 1, 3, 5]])
    assert torch.allclose(out[0, 1, 1, 2], shrink.weight @ block + shrink.bias, atol=1e-6)


def test_grow_makes_four_pixels_of_one():
    grow, x = Grow(2, 3), torch.randn(1, 2, 2, 3, 2)
    out = grow(x)
    assert out.shape == (1, 2, 4, 6, 3)
    # The four of a block begin alike.
    assert torch.equal(out[:, :, ::2, ::2], out[:, :, 1::2, 1::2])
    shaken(grow)
    four = functional.silu(grow.weight @ x[0, 1, 1, 2] + grow.bias)
    out = grow(x)
    block = torch.cat([out[0, 1, 2, 4], out[0, 1, 2, 5], out[0, 1, 3, 4], out[0, 1, 3, 5]])
    assert torch.allclose(block, four, atol=1e-6)


def test_channel_gate_by_hand():
    gate = ChannelGate(8)
    # A score of 8, 8 -> 4 and 4 -> 8 with biases.
    assert n_parameters(gate) == 8 + 36 + 40
    x = torch.randn(2, 2, 3, 2, 8)
    pixels = x[1].reshape(12, 8)
    weights = (pixels @ gate.score.weight[0]).exp()
    seen = (weights[:, None] * pixels).sum(dim=0) / weights.sum()
    factor = gate.outside(functional.silu(gate.inside(seen))).sigmoid()
    assert torch.allclose(gate(x)[1], x[1] * factor, atol=1e-6)


def test_level_is_told_by_learned_waves():
    level = Level(width=6, dim=4, n_tokens=2, n_waves=3)
    # 3 frequencies; 7 -> 6, 6 -> 6 and 6 -> 8 with biases.
    assert n_parameters(level) == 3 + 48 + 42 + 56
    vector, tokens = level(torch.tensor([0.3, -5.0], dtype=torch.float64))
    turns = [-5.0 * f for f in level.frequencies.tolist()]
    waves = [-5.0, *(math.sin(2 * math.pi * t) for t in turns)]
    waves += [math.cos(2 * math.pi * t) for t in turns]
    hidden = functional.silu(level.hidden(torch.tensor(waves)))
    assert torch.allclose(vector[1], level.vector(hidden), atol=1e-4)
    assert torch.allclose(tokens[1].flatten(), level.tokens(hidden), atol=1e-4)


def _attended(module, queries, keys, values, bias=0.0):
    """Attention of one head, by its definition."""
    queries = queries / queries.norm(dim=-1, keepdim=True) * module.query_scale
    keys = keys / keys.norm(dim=-1, keepdim=True) * module.key_scale
    weights = (8 * queries @ keys.T + bias).exp()
    return weights / weights.sum(dim=1, keepdim=True) @ values


def test_self_attention_shares_keys_between_heads():
    attention = shaken(SelfAttention(8, heads=2, head_dim=4, context_dim=6))
    # Norm 8; queries 8 x 8; keys and values 8 x 8; empty key 2 x 4; scales 4 + 4; out 8 x 8 and its
    # norm 8; context: norm 2 x 6, 6 x 8 + 8.
    assert n_parameters(attention) == 8 + 64 + 64 + 8 + 8 + 64 + 8 + 12 + 56
    x, context = torch.randn(2, 5, 8), torch.randn(2, 3, 6)
    bias = torch.randn(5, 2, 6)
    here = attention.norm(x[1])
    rows = torch.cat([attention.empty.flatten()[None], attention.key_value(here)])
    more = torch.cat([rows, attention.context(context[1])])
    queries = attention.query(here)
    for told, given_bias, seen in ((context, None, more), (None, bias, rows)):
        heads = [
            _attended(
                attention,
                queries[:, 4 * h : 4 * h + 4],
                seen[:, :4],
                seen[:, 4:],
                0.0 if given_bias is None else given_bias[:, h],
            )
            for h in range(2)
        ]
        expected = attention.out_norm(attention.out(torch.cat(heads, dim=1)))
        assert torch.allclose(attention(x, told, given_bias)[1], expected, atol=1e-4)


def test_cross_attention_has_keys_of_each_head():
    attention = shaken(CrossAttention(8, context_dim=6, heads=2, head_dim=4))
    x, context = torch.randn(2, 2, 1, 3, 8), torch.randn(2, 3, 6)
    queries = attention.query(attention.norm(x[1].reshape(6, 8)))
    keys, values = attention.key_value(context[1]).chunk(2, dim=1)
    heads = []
    for h in range(2):
        own = slice(4 * h, 4 * h + 4)
        k = torch.cat([attention.empty[:1], keys[:, own]])
        v = torch.cat([attention.empty[1:], values[:, own]])
        heads.append(_attended(attention, queries[:, own], k, v))
    expected = attention.out_norm(attention.out(torch.cat(heads, dim=1)))
    assert torch.allclose(attention(x, context)[1].reshape(6, 8), expected, atol=1e-4)


def test_linear_attention_by_its_definition():
    attention = shaken(LinearAttention(8, heads=2, head_dim=4, context_dim=6, dropout=0.5)).eval()
    x, context = torch.randn(2, 1, 3, 2, 8), torch.randn(2, 3, 6)
    rows = attention.surroundings(attention.project(attention.norm(x)))[1].reshape(6, 24)
    told_keys, told_values = attention.context(context[1]).chunk(2, dim=1)
    queries, keys, values = rows.chunk(3, dim=1)
    keys, values = torch.cat([keys, told_keys]), torch.cat([values, told_values])
    found = torch.zeros(6, 8)
    for h in range(2):
        own = slice(4 * h, 4 * h + 4)
        spread = queries[:, own].softmax(dim=1) / 2
        for channel in range(4):
            seen = keys[:, own][:, channel].softmax(dim=0) @ values[:, own]
            found[:, own] += spread[:, channel, None] * seen
    expected = attention.out_norm(attention.out(functional.silu(found)))
    assert torch.allclose(attention(x, context)[1].reshape(6, 8), expected, atol=1e-4)


def test_linear_attention_drops_channels_in_training_only():
    attention = LinearAttention(8, heads=2, head_dim=4, context_dim=6, dropout=0.5)
    x, context = torch.randn(1, 1, 2, 2, 8), torch.randn(1, 3, 6)
    assert not torch.equal(attention(x, context), attention(x, context))
    attention.eval()
    assert torch.equal(attention(x, context), attention(x, context))


def test_frame_attention_knows_distances():
    attention = shaken(FrameAttention(8, heads=2, head_dim=4))
    x = torch.randn(1, 4, 2, 3, 8)
    inner = attention.attention
    here = inner.norm(x[0, :, 1, 2])
    seen = torch.cat([inner.empty.flatten()[None], inner.key_value(here)])
    heads = []
    for h in range(2):
        bias = torch.full((4, 5), -math.inf)
        bias[:, 0] = attention.empty_bias[h]
        for i in range(4):
            for j in range(i + 1):
                bias[i, j + 1] = attention.distance_bias(torch.tensor([float(i - j)]))[h]
        queries = inner.query(here)[:, 4 * h : 4 * h + 4]
        heads.append(_attended(inner, queries, seen[:, :4], seen[:, 4:], bias))
    expected = inner.out_norm(inner.out(torch.cat(heads, dim=1)))
    assert torch.allclose(attention(x)[0, :, 1, 2], expected, atol=1e-4)


def _block_settings(frames):
    return BlockSettings(
        width=12, token_dim=6, heads=2, head_dim=4, groups=2, dropout=0.0, frames=frames
    )


def test_what_is_between_frames_looks_back_only():
    mixing = shaken(BetweenFrames(8, _block_settings(frames=True)))
    x = torch.randn(2, 5, 1, 2, 8)
    changed = x.clone()
    changed[:, 2] += 1
    before, after = mixing(x), mixing(changed)
    assert torch.allclose(before[:, :2], after[:, :2], atol=1e-6)
    differs = (before - after).abs().amax(dim=(0, 2, 3, 4))
    assert (differs[2:] > 1e-3).all()


def test_between_frames_begins_without_attention():
    mixing = BetweenFrames(8, _block_settings(frames=True))
    x = torch.randn(1, 5, 1, 2, 8)
    assert torch.equal(mixing(x), x + mixing.order(x))


def test_half_of_the_feed_forward_comes_late():
    feed = shaken(FeedForward(4, frames=True))
    x = torch.randn(1, 3, 1, 1, 4)
    inner = functional.gelu(feed.inside(feed.norm(x)))[0, :, 0, 0]
    late = torch.cat([torch.zeros(1, 4), inner[:-1, 4:]])
    joined = torch.cat([inner[:, :4], late], dim=1)
    expected = x[0, :, 0, 0] + feed.outside(feed.inner_norm(joined))
    assert torch.allclose(feed(x)[0, :, 0, 0], expected, atol=1e-6)


def test_residual_block_by_its_definition():
    block = shaken(ResidualBlock(4, 8, _block_settings(frames=False), cross=True, gate=True))
    # The level 12 -> 16; norms 8 and 16; convolutions 4 -> 8 and 8 -> 8 with biases; cross
    # attention: norm, queries, keys and values of both heads, empty, scales, out, norm; gate 84;
    # around 4 -> 8.
    cross = 8 + 64 + 96 + 8 + 8 + 64 + 8
    assert n_parameters(block) == 208 + 8 + 16 + 296 + 584 + cross + 84 + 40
    x = torch.randn(2, 1, 3, 3, 4)
    told = Told(torch.randn(2, 12), torch.randn(2, 3, 6))
    inner = block.first.conv(functional.silu(block.first.norm(x)))
    inner = inner + block.cross(inner, told.tokens)
    scale, shift = block.level(told.vector).split(8, dim=1)
    inner = block.second.norm(inner) * (1 + scale[:, None, None, None])
    inner = block.second.conv(functional.silu(inner + shift[:, None, None, None]))
    expected = block.gate(inner) + nn.functional.linear(x, block.around.weight, block.around.bias)
    assert torch.allclose(block(x, told), expected, atol=1e-5)
