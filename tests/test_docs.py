"""The tables of docs/models.md are measured here, its snippets run, and its commands exist.

python -m tests.test_docs      # print the tables afresh
"""

import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import ResNetConfig

from cmr_hf import CMRConfig, CMRForSemanticSegmentation, CMRViTConfig
from cmr_hf.weights import embedded_names

ROOT = Path(__file__).parents[1]
DOC = ROOT / "docs" / "models.md"
SIZE, CLASSES = 224, 4
SIDES = [SIZE >> level for level in range(6)]
# name -> encoder and decoder, all with their default widths
MODELS = {
    "UNETR, patch 8 (the paper's)": (CMRViTConfig(), "unetr"),
    "UNETR, patch 16": (CMRViTConfig(patch_size=16), "unetr"),
    "hybrid, patch 8": (CMRViTConfig(), "hybrid"),
    "hybrid, patch 16": (CMRViTConfig(patch_size=16), "hybrid"),
    "U-Net (the paper's baseline)": (ResNetConfig(), "unet"),
}
MONAI = "MONAI's UNETR in 2-D, patch 16"
# encoder -> one of the models above, and what the paper says (section 3.3)
ENCODERS = {
    "ViT-S/8": ("UNETR, patch 8 (the paper's)", "21 M"),
    "ViT-S/16": ("UNETR, patch 16", "–"),
    "ResNet-50": ("U-Net (the paper's baseline)", "23 M"),
}


@pytest.fixture(scope="module")
def models() -> dict[str, CMRForSemanticSegmentation]:
    return built()


def built() -> dict[str, CMRForSemanticSegmentation]:
    """The models without memory for their weights: shapes and counts only."""
    names = {index: str(index) for index in range(CLASSES)}
    with torch.device("meta"):
        return {
            name: CMRForSemanticSegmentation(CMRConfig(backbone_config=encoder, decoder_type=decoder, id2label=names))
            for name, (encoder, decoder) in MODELS.items()
        }


def built_by_monai() -> nn.Module:
    """MONAI's UNETR with the sizes of the ViT-S; its feature size of 16 gives the channels of ours."""
    pytest.importorskip("monai", reason="MONAI comes with the train extra")
    from monai.networks.blocks import crossattention, selfattention
    from monai.networks.nets import UNETR

    with pytest.MonkeyPatch.context() as patch, torch.device("meta"):
        for file in (crossattention, selfattention):  # layers of einops have no parameters
            patch.setattr(file, "Rearrange", lambda *pattern, **lengths: nn.Identity())
        return UNETR(
            in_channels=3,
            out_channels=CLASSES,
            img_size=SIZE,
            hidden_size=384,
            mlp_dim=1536,
            num_heads=6,
            spatial_dims=2,
            qkv_bias=True,
        )


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def millions(count: int) -> str:
    return f"{count / 1e6:.2f} M"


def spaced(count: int) -> str:
    return f"{count:,}".replace(",", " ")


def encoder_table(models: dict[str, CMRForSemanticSegmentation]) -> str:
    lines = ["| encoder | parameters | in the paper | numbers per image | of 224 px |", "|---|---|---|---|---|"]
    for name, (model, paper) in ENCODERS.items():
        encoder = models[model].backbone
        with torch.device("meta"), torch.no_grad():
            outputs = encoder(torch.zeros(1, 3, SIZE, SIZE), output_hidden_states=True)
            width = encoder.image_features(outputs).shape[-1]
        last = outputs.last_hidden_state.shape[1:]
        side = SIZE // encoder.config.patch_size if len(last) == 2 else last[-1]
        what = f"{side} × {side} patches and [CLS]" if len(last) == 2 else f"map of {side} × {side}"
        depth = last[-1] if len(last) == 2 else last[0]
        lines.append(f"| {name} | {millions(parameters(encoder))} | {paper} | {width} | {what}, {depth} wide |")
    return "\n".join(lines)


def decoder_table(models: dict[str, CMRForSemanticSegmentation], monai: nn.Module) -> str:
    rows = {name: (parameters(model.backbone), parameters(model.decoder)) for name, model in models.items()}
    rows[MONAI] = parameters(monai.vit), parameters(monai) - parameters(monai.vit)
    lines = ["| decoder | its parameters | encoder's | together |", "|---|---|---|---|"]
    for name, (encoder, decoder) in rows.items():
        lines.append(f"| {name} | {spaced(decoder)} | {spaced(encoder)} | {millions(encoder + decoder)} |")
    return "\n".join(lines)


def shape_table(models: dict[str, CMRForSemanticSegmentation], monai: nn.Module) -> str:
    lines = [f"| decoder | {' | '.join(f'{side}²' for side in SIDES)} |", "|---" * (len(SIDES) + 1) + "|"]
    for name, model in models.items():
        decoder, encoder = model.decoder, model.config.backbone_config
        mixers = [up.mix for up in decoder.ups] if hasattr(decoder, "ups") else list(decoder.blocks)
        mixers += [decoder.taps[0]] if hasattr(decoder, "taps") else []
        mixers += [decoder.bottleneck] if hasattr(decoder, "bottleneck") else []
        cells = channels_by_side(model, mixers)
        if encoder.model_type == "resnet":
            cells[SIZE // 32] = str(encoder.hidden_sizes[-1])
        lines.append(row(name, cells))
    tokens = FixedTokens(monai.vit.norm.normalized_shape[0], (SIZE // 16) ** 2)
    decoders = [monai.decoder2, monai.decoder3, monai.decoder4, monai.decoder5]
    with replaced(monai, "vit", tokens):
        cells = channels_by_side(monai, [decoder.conv_block for decoder in decoders])
    lines.append(row(MONAI, cells | {SIZE // 16: str(tokens.width)}))
    return "\n".join(lines)


def row(name: str, cells: dict[int, str]) -> str:
    return f"| {name} | {' | '.join(cells.get(side, '') for side in SIDES)} |"


def channels_by_side(model: nn.Module, mixers: list[nn.Module]) -> dict[int, str]:
    """Side of the map -> channels that go into the module at that level and come out of it."""
    cells: dict[int, str] = {}

    def note(module: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        arriving = inputs[0].shape[1] if inputs[0].ndim == 4 else inputs[0].shape[-1]  # a map, or tokens
        cells[output.shape[-1]] = f"{arriving} → {output.shape[1]}"

    hooks = [mixer.register_forward_hook(note) for mixer in mixers]
    with torch.device("meta"), torch.no_grad():
        model(torch.zeros(1, 3, SIZE, SIZE))
    for hook in hooks:
        hook.remove()
    return cells


class FixedTokens(nn.Module):
    """Stands for MONAI's ViT, whose forward pass needs einops; only the shapes of its tokens matter here."""

    def __init__(self, width: int, count: int):
        super().__init__()
        self.width, self.count = width, count

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        tokens = image.new_zeros(len(image), self.count, self.width)
        return tokens, [tokens] * 12


@contextmanager
def replaced(module: nn.Module, name: str, other: nn.Module) -> Iterator[None]:
    own = getattr(module, name)
    setattr(module, name, other)
    try:
        yield
    finally:
        setattr(module, name, own)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", DOC.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def test_the_encoders_are_as_large_as_the_document_says(models):
    table = encoder_table(models)
    assert table in DOC.read_text(encoding="utf-8"), f"now it is\n{table}"


@pytest.mark.parametrize("table", [decoder_table, shape_table])
def test_the_decoders_are_as_the_document_says(models, table: Callable):
    measured = table(models, built_by_monai())
    assert measured in DOC.read_text(encoding="utf-8"), f"now it is\n{measured}"


def test_the_differences_to_monais_unetr_are_those_named(models):
    """Ours minus MONAI's decoder is what the document lists: norms, residual blocks, a narrower bottleneck, scales."""
    width, channels = 384, (128, 64, 32)
    norms = 4 * 2 * width
    residual_blocks = sum(2 * 9 * c * c + 2 * 2 * c for c in channels)
    bottleneck = width * 128 + 4 * 128 * 128 - 4 * width * 128
    # both have, at each level, three norms in the up block; in the stem three, in the taps two a block
    scales = 2 * (3 * (128 + 64 + 32 + 16) + 3 * 16 + 2 * 64 + 2 * 2 * 32)
    monai = built_by_monai()
    ours, theirs = parameters(models["UNETR, patch 16"].decoder), parameters(monai) - parameters(monai.vit)
    assert ours - theirs == norms + residual_blocks + bottleneck + scales


@pytest.mark.skipif("cine-sax" not in embedded_names(), reason="no embedded weights in this checkout")
@pytest.mark.parametrize("index", range(len(blocks("python"))))
def test_when_a_snippet_of_the_document_is_run_then_it_works(index, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(blocks("python")[index], f"snippet {index}", "exec"), {"__name__": "docs"})


def test_when_the_document_names_a_command_then_the_command_line_knows_it():
    from cmr_hf.cli import _parser

    lines = [line for block in blocks("bash") for line in block.splitlines() if line.startswith("cmr-hf ")]
    assert lines
    for line in lines:
        assert callable(_parser().parse_args(shlex.split(line, comments=True)[1:]).run)


if __name__ == "__main__":
    made = built()
    print(encoder_table(made), decoder_table(made, built_by_monai()), shape_table(made, built_by_monai()), sep="\n\n")
