"""`pipeline("cmr-feature-extraction")`: what the encoder sees in an image, for a user's own downstream work."""

import numpy as np
import torch

from .reading_cmr import CMRImage
from .slicewise_cmr import SlicewisePipeline

KINDS = ("image", "cls", "patches")


class CMRFeatureExtractionPipeline(SlicewisePipeline):
    """Features of each slice and phase, as a float32 array that keeps the source's leading axes.

    Takes what `cmr-segmentation` takes, and any model of this package: of one with a head, its encoder. An array of
    shape `(z, y, x)` gives `(z, features)`; a file `(t, z, features)`; one picture `(features,)`.

    Call arguments:
        kind (`str`, defaults to `"image"`): `"image"`, one vector per image ([CLS] of the last four blocks and the mean
            patch token: 1920 numbers for the ViT-S; 2048 for the ResNet-50); `"cls"`, the last [CLS] token (ViT only);
            or `"patches"`, the map of tokens, `(…, rows, columns, hidden size)`.
        spacing_mm (two `float`, *optional*): (row, column), instead of what the source says.
        batch_size (`int`, defaults to 8): slices per forward pass.

    Source: Jacob et al. 2024, section 3.3.
    """

    for_task = "cmr-feature-extraction"
    any_model = True
    within = ("kind",)

    def _sanitize_parameters(self, **given) -> tuple[dict, dict, dict]:
        if given.get("kind") not in (None, *KINDS):
            raise ValueError(f"`kind` must be one of {', '.join(KINDS)}, got {given['kind']!r}")
        return super()._sanitize_parameters(**given)

    def answers(self, pixel_values: torch.Tensor, kind: str = "image") -> torch.Tensor:
        encoder = getattr(self.model, "backbone", self.model)  # or an encoder by itself
        outputs = encoder(pixel_values, output_hidden_states=True)
        if kind == "image":
            return encoder.image_features(outputs)
        tokens = outputs.last_hidden_state
        if tokens.ndim == 4:  # a ResNet's map
            if kind == "cls":
                raise ValueError("a ResNet has no [CLS] token: ask for kind='image' or 'patches'")
            return tokens.movedim(1, -1)  # (b, d, h, w) -> (b, h, w, d)
        if kind == "cls":
            return tokens[:, 0]
        patch = encoder.config.patch_size
        grid = (pixel_values.shape[-2] // patch, pixel_values.shape[-1] // patch)
        return tokens[:, 1:].unflatten(1, grid)  # (b, h·w, d) -> (b, h, w, d)

    def postprocess(self, model_outputs: list[dict]) -> np.ndarray:
        image: CMRImage = model_outputs[0]["image"]
        features = torch.cat([output["answers"] for output in model_outputs]).float().numpy()
        return features.reshape(*image.pixels.shape[:-2], *features.shape[1:])
