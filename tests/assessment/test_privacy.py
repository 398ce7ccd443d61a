"""Names of files and folders do not leave in texts of errors, unless they are to be kept."""

from pathlib import Path

from cmr_hf.assessment.privacy import LONGEST, Private

STUDY = Path("/archive/Doe_Jane_1947")
FILES = ("series 1/Doe^Jane.0001.dcm", "report.pdf")


def test_when_an_error_names_files_then_the_names_are_taken_out():
    private = Private(STUDY, FILES)
    said = private.error(OSError(f"cannot read {STUDY}/series 1/Doe^Jane.0001.dcm of DOE_JANE_1947: truncated"))
    assert "oe" not in said.lower().replace("does", "")
    assert said.startswith("OSError: cannot read")
    assert said.endswith("truncated")


def test_when_a_word_only_holds_a_name_then_it_stays():
    assert Private(Path("/a/the"), ("art.dcm",)).text("the heart is there") == "… heart is there"


def test_when_identity_is_to_be_kept_then_texts_stay_but_short():
    private = Private(STUDY, FILES, keep=True)
    assert private.text("Doe^Jane.0001.dcm") == "Doe^Jane.0001.dcm"
    assert len(private.text("x" * 1000)) == LONGEST
    assert private.error(ValueError("one\n two")) == "one two"
