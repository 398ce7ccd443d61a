"""One small study, assessed once for all tests that only look at the result."""

import pytest

from cmr_hf.assessment import assess
from tests.assessment.study_factory import GivenModels, painted, write_study


@pytest.fixture
def oracle(monkeypatch):
    """Models that know the hearts of `study_factory`: cine and maps. Pictures, which take long, are not drawn."""
    for pictures in ("_pictures", "_sheets"):
        monkeypatch.setattr(f"cmr_hf.assessment.writing.files.{pictures}", lambda *args: None)
    given = GivenModels(painted(), painted("mapping-sax"))
    monkeypatch.setattr("cmr_hf.assessment.assessing.Models", lambda models, device=None: given)
    return given


@pytest.fixture(scope="session")
def assessed(tmp_path_factory):
    """Folder of a study with planted identity, its truth, the result, and where that was written."""
    root = tmp_path_factory.mktemp("assessed")
    folder, labels, stack = write_study(root)
    out = root / "out"
    given = GivenModels(painted(), painted("mapping-sax"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cmr_hf.assessment.assessing.Models", lambda models, device=None: given)
        made = assess(folder, out=out, progress=False, seg_phases="all")
    return folder, labels, stack, made, out
