"""What the embedded models say of the sample heart stays as it was: no later change silently breaks one.

After new weights, look at the pictures, then write the answers anew: `python -m tests.test_frozen_answers`.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from transformers import pipeline

import cmr_hf
from cmr_hf import read_image
from cmr_hf.weights import embedded_names

FILE = Path(__file__).with_name("frozen_answers.json")
SEGMENTERS = ("cine-sax", "cine-sax-permissive", "cine-4ch", "mapping-sax")
CLASSIFIERS = {
    "cine-view": "cmr-view-classification",
    "image-type": "cmr-image-type-classification",
    "lge-detection": "cmr-lge-detection",
    "disease": "cmr-disease-detection",
}


def answers(name: str) -> dict:
    """What one model says, in a form for JSON: pixels of each class by slice, probabilities, or points."""
    heart = cmr_hf.sample("sax_cine")
    if name in SEGMENTERS:
        found = pipeline("cmr-segmentation", model=cmr_hf.embedded(name))(heart)
        counts = {
            label: np.count_nonzero(found["segmentation"][0] == index, axis=(1, 2)).tolist()
            for index, label in found["labels"].items()
            if index
        }
        return {"pixels": counts}
    if name in CLASSIFIERS:
        told = pipeline(CLASSIFIERS[name], model=cmr_hf.embedded(name))(heart)
        return {"scores": {one["label"]: round(float(one["score"]), 4) for one in told}}
    locate = pipeline("cmr-landmark-detection", model=cmr_hf.embedded(name))
    image = np.asarray(read_image(heart).pixels)
    middle = image[0, image.shape[1] // 2]
    told = locate(middle, spacing_mm=read_image(heart).spacing_mm)
    return {"points": json.loads(json.dumps(told, default=lambda value: np.asarray(value).tolist()))}


@pytest.mark.parametrize("name", embedded_names())
def test_an_embedded_model_says_of_the_sample_heart_what_it_said(name):
    known, found = json.loads(FILE.read_text(encoding="utf-8"))[name], answers(name)
    if "pixels" in known:
        for label, counts in known["pixels"].items():
            np.testing.assert_allclose(found["pixels"][label], counts, rtol=0.02, atol=12, err_msg=label)
    elif "scores" in known:
        assert found["scores"] == pytest.approx(known["scores"], abs=0.02)
    else:
        assert _numbers(found["points"]) == pytest.approx(_numbers(known["points"]), abs=0.5)


def _numbers(value: object) -> list[float]:
    if isinstance(value, dict):
        return [number for name in sorted(value) for number in _numbers(value[name])]
    if isinstance(value, list):
        return [number for one in value for number in _numbers(one)]
    return [float(value)] if isinstance(value, (int, float)) and not isinstance(value, bool) else []


if __name__ == "__main__":
    FILE.write_text(json.dumps({name: answers(name) for name in embedded_names()}, indent=1) + "\n", encoding="utf-8")
