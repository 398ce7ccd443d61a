"""Label tables: the words people write, and rows that nobody can guess."""

import pyarrow
import pyarrow.parquet
import pytest

from cmr_hf.data.labels.names import structure_of
from cmr_hf.data.labels.tables import COLUMNS, WORDS, read_label_table, word_of
from cmr_hf.data.schema import DISEASES, IMAGE_TYPES, LGE, VIEWS
from cmr_hf.hub.reading_cmr import ReadingError


def table(tmp_path, text, name="labels.csv", **options):
    (tmp_path / name).write_text(text, encoding="utf-8")
    return read_label_table(tmp_path / name, **options)


@pytest.mark.parametrize(
    ("column", "cell", "value"),
    [
        ("view", "4ch", "4CH"),
        ("view", "LAX 4CH", "4CH"),
        ("view", "Four-Chamber", "4CH"),
        ("view", "lax_2ch", "2CH"),
        ("view", "short axis", "SAX"),
        ("view", " SA ", "SAX"),
        ("view", "LVOT", "3CH"),
        ("image_type", "bSSFP", "cine"),
        ("image_type", "T1 mapping", "T1"),
        ("image_type", "PSIR", "LGE"),
        ("disease", "NOR", "NORM"),
        ("disease", "Hypertrophic cardiomyopathy", "HCM"),
        ("disease", "MI", "MINF"),
        ("lge", "1", "present"),
        ("lge", "0.0", "none"),
        ("lge", "None", "none"),
        ("lge", "LGE+", "present"),
        ("lge", "-", "none"),
        ("lge", "yes", "present"),
        ("view", "", None),
        ("disease", "N/A", None),
        ("view", "unknown", None),
    ],
)
def test_words_are_normalised(column, cell, value):
    assert word_of(column, cell) == value


def test_every_word_means_one_value_of_the_schema():
    for column, known in (("view", VIEWS), ("image_type", IMAGE_TYPES), ("disease", DISEASES), ("lge", LGE)):
        assert tuple(sorted(WORDS[column])) == tuple(sorted(known))
        words = [word for values in WORDS[column].values() for word in values.split("|")]
        assert len(words) == len(set(words)), column
    names = [name for names in COLUMNS.values() for name in names.split("|")]
    assert len(names) == len(set(names))


def test_rows_come_back_and_unknown_words_with_their_rows(tmp_path):
    found = table(
        tmp_path,
        "\ufeffPatient ID;File name;View;LGE;Comment\np1;a.dcm;4ch;yes;x\np2;b.dcm;sideways;no;y\n\n"
        "p3;c.dcm;sideways;maybe;\n",
    )
    assert [row["row"] for row in found.rows] == [2, 3, 5]
    assert found.rows[0] == {"row": 2, "patient": "p1", "file": "a.dcm", "view": "4CH", "lge": "present"}
    assert found.rows[1]["view"] is None
    assert found.report[0] == "labels.csv: columns not used: Comment"
    assert "view 'sideways' is not known, in rows 3, 5" in found.report[1]
    assert "lge 'maybe' is not known, in row 5" in found.report[2]


def test_own_words_and_columns_go_first(tmp_path):
    found = table(
        tmp_path,
        "Kennung,Ebene,view\np1,Kurzachse,4ch\n",
        columns={"Kennung": "patient", "Ebene": "view"},
        words={"view": {"Kurzachse": "SAX"}},
    )
    assert found.rows == [{"row": 2, "patient": "p1", "view": "SAX"}]


def test_parquet_reads_like_csv(tmp_path):
    path = tmp_path / "labels.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"subject": ["p1", "p2"], "lge": [1, 0], "view": ["SA", None]}), path)
    assert [row["lge"] for row in read_label_table(path).rows] == ["present", "none"]
    assert [row["view"] for row in read_label_table(path).rows] == ["SAX", None]
    path.write_bytes(b"PAR1 nothing")
    with pytest.raises(ReadingError, match=r"labels\.parquet is no Parquet"):
        read_label_table(path)


@pytest.mark.parametrize(
    ("text", "options", "says"),
    [
        ("view,lge\nSAX,1\n", {}, "column patient or file"),
        ("patient\n", {}, "at least one row"),
        ("", {}, "at least one row"),
        ("patient,subject\np1,p1\n", {}, "two columns for 'patient'"),
        ('patient,view\n"p1,SAX\n', {}, "CSV in UTF-8"),
        ("patient,view\np1," + "x" * 20_000, {}, "characters a cell"),
        ("patient\np1\n", {"columns": {"patient": "name"}}, "`columns` needs"),
        ("patient,view\np1,x\n", {"words": {"view": {"x": "sideways"}}}, "`words` for 'view'"),
    ],
)
def test_when_a_table_is_bad_then_it_says_so(tmp_path, text, options, says):
    with pytest.raises(ReadingError, match=says):
        table(tmp_path, text, **options)


def test_when_bytes_are_not_utf8_then_it_says_so(tmp_path):
    (tmp_path / "labels.csv").write_bytes("patient,view\nM\xfcller,SAX\n".encode("latin-1"))
    with pytest.raises(ReadingError, match="CSV UTF-8"):
        read_label_table(tmp_path / "labels.csv")
    with pytest.raises(ReadingError, match="view 'sideways'"):
        word_of("view", "sideways")


@pytest.mark.parametrize(
    ("name", "structure"),
    [
        ("LV", "LV cavity"),
        ("lv-endo", "LV cavity"),
        ("LV_Epi", "LV epicardium"),
        ("Left Ventricular Myocardium", "myocardium"),
        ("heart_ventricle_right", "RV"),
        ("Left atrium", "LA"),
        ("MVO", "scar"),
        ("Clear Label", "background"),
        ("aorta", None),
        ("", None),
    ],
)
def test_structures_are_known_by_many_names(name, structure):
    assert structure_of(9, name) == structure
    assert structure_of(9, name, label_map={9: 5}) == "RA"
    assert structure_of(9, "what", ("SCT", "87878005")) == "LV cavity"
