"""From what an encoder gives to a map per class at full size: the three decoders, and the segmentation loss."""

import math

import torch
from torch import nn
from torch.nn import functional as F

from .configuration_cmr import CMRConfig


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions with instance norm and a shortcut (the block of UNETR and DynUNet)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.InstanceNorm2d(out_channels, affine=True)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = nn.InstanceNorm2d(out_channels, affine=True)
        self.activation = nn.LeakyReLU(0.01)
        self.shortcut = None
        if in_channels != out_channels or stride != 1:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False),
                nn.InstanceNorm2d(out_channels, affine=True),
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        residual = x if self.shortcut is None else self.shortcut(x)
        x = self.activation(self.norm1(self.conv1(x)))
        return self.activation(self.norm2(self.conv2(x)) + residual)


class UpBlock(nn.Module):
    """Doubles the size, joins the skip, and mixes both."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int):
        super().__init__()
        self.up = nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2, bias=False)
        self.mix = ResidualBlock(out_channels + skip_channels, out_channels)

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        return self.mix(torch.cat((self.up(x), skip), dim=1))


class TokensToMap(nn.Module):
    """Patch tokens of one block, normalised, as a map that is doubled `doublings` times."""

    def __init__(self, hidden_size: int, out_channels: int, doublings: int):
        super().__init__()
        self.norm = nn.LayerNorm(hidden_size)
        steps = [nn.Conv2d(hidden_size, out_channels, 1, bias=False)] if doublings == 0 else []
        for step in range(doublings):
            channels = hidden_size if step == 0 else out_channels
            steps += [
                nn.ConvTranspose2d(channels, out_channels, 2, stride=2, bias=False),
                ResidualBlock(out_channels, out_channels),
            ]
        self.steps = nn.Sequential(*steps)

    def forward(self, tokens: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
        patches = self.norm(tokens[:, 1:])  # without [CLS]
        patches = patches.transpose(1, 2).unflatten(2, grid)  # (b, n, d) -> (b, d, h, w)
        return self.steps(patches)


def token_grid(pixel_values: torch.Tensor, patch_size: int) -> tuple[int, int]:
    return pixel_values.shape[-2] // patch_size, pixel_values.shape[-1] // patch_size


def level_channels(config: CMRConfig) -> list[int]:
    """Channels at 1/1, 1/2, … down to the token grid; patch 16 repeats the last of `decoder_channels` at 1/16.

    Raises:
        ValueError: for any other patch size.
    """
    patch_size = config.backbone_config.patch_size
    if patch_size not in (8, 16):
        raise ValueError(f"the decoders take a backbone of `patch_size` 8 or 16, got {patch_size}")
    return [*config.decoder_channels, config.decoder_channels[-1]][: int(math.log2(patch_size)) + 1]


class UNETRDecoder(nn.Module):
    """UNETR in two dimensions: skips from the ViT's blocks, a convolutional stem at full size.

    For patch 8 block 12 is the bottleneck at 1/8, block 9 goes to 1/4, block 6 to 1/2, the image itself to 1/1;
    patch 16 starts at 1/16 and takes block 3 too. [CLS] is dropped and each tap is layer-normed, as DINO's hidden
    states carry no final norm. Source: Hatamizadeh et al. 2021.
    """

    def __init__(self, config: CMRConfig):
        super().__init__()
        channels = level_channels(config)
        doublings = len(channels) - 1  # of the token grid, until it is the image
        blocks, hidden_size = config.backbone_config.num_hidden_layers, config.backbone_config.hidden_size
        self.patch_size = config.backbone_config.patch_size
        self.tap_blocks = [max(1, round(blocks * (4 - tap) / 4)) for tap in range(doublings)]  # deepest first
        self.taps = nn.ModuleList(
            TokensToMap(hidden_size, channels[doublings - tap], doublings=tap) for tap in range(doublings)
        )
        self.stem = ResidualBlock(config.backbone_config.num_channels, channels[0])
        self.ups = nn.ModuleList(
            UpBlock(channels[level + 1], channels[level], channels[level]) for level in reversed(range(doublings))
        )
        self.classifier = nn.Conv2d(channels[0], config.num_labels, 1)

    def forward(
        self, pixel_values: torch.Tensor, hidden_states: tuple[torch.Tensor, ...], last_hidden_state: torch.Tensor
    ) -> torch.Tensor:
        grid = token_grid(pixel_values, self.patch_size)
        tokens = [last_hidden_state, *(hidden_states[block] for block in self.tap_blocks[1:])]
        maps = [tap(part, grid) for tap, part in zip(self.taps, tokens, strict=True)]
        x, *skips = maps
        for up, skip in zip(self.ups, [*skips, self.stem(pixel_values)], strict=True):
            x = up(x, skip)
        return self.classifier(x)


class HybridDecoder(nn.Module):
    """A convolutional pyramid of the image for detail, the ViT's tokens at its bottleneck for context.

    The pyramid halves the image down to the token grid (1/8 or 1/16), where the tokens of the last block join it; its
    finer levels, and one convolution at 1/1, are the skips. Source: the ConvUNETR of Fu et al. 2025 (CineMA), in two
    dimensions.
    """

    def __init__(self, config: CMRConfig):
        super().__init__()
        self.patch_size = config.backbone_config.patch_size
        channels = level_channels(config)
        self.stem = nn.Sequential(
            nn.Conv2d(config.backbone_config.num_channels, channels[0], 3, padding=1, bias=False),
            nn.InstanceNorm2d(channels[0], affine=True),
            nn.LeakyReLU(0.01),
        )
        levels = range(len(channels) - 1)
        self.downs = nn.ModuleList(ResidualBlock(channels[i], channels[i + 1], stride=2) for i in levels)
        self.tokens = TokensToMap(config.backbone_config.hidden_size, channels[-1], doublings=0)
        self.bottleneck = ResidualBlock(2 * channels[-1], channels[-1])
        self.ups = nn.ModuleList(UpBlock(channels[i + 1], channels[i], channels[i]) for i in reversed(levels))
        self.classifier = nn.Conv2d(channels[0], config.num_labels, 1)

    def forward(
        self, pixel_values: torch.Tensor, hidden_states: tuple[torch.Tensor, ...], last_hidden_state: torch.Tensor
    ) -> torch.Tensor:
        pyramid = [self.stem(pixel_values)]
        for down in self.downs:
            pyramid.append(down(pyramid[-1]))
        context = self.tokens(last_hidden_state, token_grid(pixel_values, self.patch_size))
        x = self.bottleneck(torch.cat((pyramid.pop(), context), dim=1))
        for up in self.ups:
            x = up(x, pyramid.pop())
        return self.classifier(x)


class ConvNormReLU(nn.Sequential):
    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
        )


class UNetDecoder(nn.Module):
    """The decoder of a ResNet50-Unet: five doublings, each joined by the encoder's map of that size.

    Takes the encoder's maps at 1/2 … 1/32 as `hidden_states`; the last doubling, to full size, has no skip.

    Source: Ronneberger et al. 2015; shape of Iakubovskii 2019, as the paper used it.
    """

    def __init__(self, config: CMRConfig):
        super().__init__()
        encoder = config.backbone_config
        skips = [encoder.embedding_size, *encoder.hidden_sizes]  # channels at 1/2, 1/4, … 1/32
        inputs = [*config.decoder_channels[1:], skips[-1]]
        joined = [0, *skips[:-1]]
        self.blocks = nn.ModuleList(
            nn.Sequential(ConvNormReLU(below + skip, out), ConvNormReLU(out, out))
            for below, skip, out in reversed(list(zip(inputs, joined, config.decoder_channels, strict=True)))
        )
        self.classifier = nn.Conv2d(config.decoder_channels[0], config.num_labels, 3, padding=1)

    def forward(
        self, pixel_values: torch.Tensor, hidden_states: tuple[torch.Tensor, ...], last_hidden_state: torch.Tensor
    ) -> torch.Tensor:
        x = last_hidden_state
        for block, skip in zip(self.blocks, [*reversed(hidden_states[:-1]), None], strict=True):
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")
            x = block(x if skip is None else torch.cat((x, skip), dim=1))
        return self.classifier(x)


def build_decoder(config: CMRConfig) -> nn.Module:
    """The decoder that `config.decoder_type` names, with random weights."""
    return {"unetr": UNETRDecoder, "hybrid": HybridDecoder, "unet": UNetDecoder}[config.decoder_type](config)


def soft_jaccard_loss(
    probabilities: torch.Tensor, target: torch.Tensor, valid: torch.Tensor, smoothing: float
) -> torch.Tensor:
    """1 − soft Jaccard index, per sample and foreground class, then the mean.

    Each sample counts by itself, so that a false positive on a slice without heart is punished.

    Args:
        probabilities (`torch.Tensor` of shape `(batch, classes, height, width)`): softmax output.
        target (`torch.Tensor` of the same shape): one-hot labels.
        valid (`torch.Tensor` of shape `(batch, 1, height, width)`): 1 where a pixel counts.
        smoothing (`float`): added to intersection and union, in pixels.

    Source: Bertels et al. 2019.
    """
    probabilities, target = (probabilities * valid)[:, 1:], (target * valid)[:, 1:]
    intersection = (probabilities * target).sum((-2, -1))
    union = probabilities.sum((-2, -1)) + target.sum((-2, -1)) - intersection
    return 1.0 - ((intersection + smoothing) / (union + smoothing)).mean()


def segmentation_loss(logits: torch.Tensor, labels: torch.Tensor, config: CMRConfig) -> torch.Tensor:
    """Soft Jaccard plus `config.cross_entropy_weight` × cross-entropy, in float32.

    Args:
        logits (`torch.Tensor` of shape `(batch, classes, height, width)`)
        labels (`torch.LongTensor` of shape `(batch, height, width)`)

    Raises:
        ValueError: shapes that do not fit, or a class id outside the model's.
    """
    if labels.shape != (logits.shape[0], *logits.shape[-2:]):
        raise ValueError(f"`labels` must be (batch, height, width) of {tuple(logits.shape)}, got {tuple(labels.shape)}")
    valid = labels != config.ignore_index
    target = labels.long().where(valid, 0)
    if target.max() >= logits.shape[1] or target.min() < 0:
        raise ValueError(
            f"`labels` has class {int(target.max())} or below 0, the model knows 0…{logits.shape[1] - 1}: "
            "map the ids first, or set num_labels"
        )
    logits = logits.float()
    one_hot = F.one_hot(target, logits.shape[1]).movedim(-1, 1).to(logits.dtype)
    loss = soft_jaccard_loss(logits.softmax(dim=1), one_hot, valid[:, None], config.jaccard_smoothing)
    if config.cross_entropy_weight:
        cross_entropy = F.cross_entropy(logits, target.where(valid, -100), ignore_index=-100)
        loss = loss + config.cross_entropy_weight * cross_entropy.nan_to_num()
    return loss
