"""NRRD as ITK writes it and `.seg.nrrd` with the fields of Slicer's own files."""

import gzip

import numpy as np
import pytest
import SimpleITK

from cmr_hf.data.labels.nrrd import read_nrrd_masks
from cmr_hf.hub.image_cmr import CMRImage
from cmr_hf.hub.reading_cmr import ReadingError
from tests.data.labels.labels_factory import CENTRE, ENDO, EPI, SHAPE, disc, heart

SAME = {1: 1, 2: 2, 3: 3}
LPS = np.array([[1.5, 0, 0, 10], [0, 1.25, 0, 20], [0, 0, 10, 30], [0, 0, 0, 1.0]])


def header(sizes="48 40 2", kinds="domain domain domain", encoding="raw", extra="", **fields):
    layered = "none " if "list" in kinds else ""
    made = {
        "type": "unsigned char",
        "dimension": str(len(sizes.split())),
        "space": "left-posterior-superior",
        "sizes": sizes,
        "space directions": f"{layered}(1.5,0,0) (0,1.25,0) (0,0,10)",
        "kinds": kinds,
        "encoding": encoding,
        "space origin": "(10,20,30)",
    }
    made |= {key.replace("_", " "): value for key, value in fields.items()}
    return (
        "NRRD0004\n# Complete NRRD file format specification at:\n"
        + "".join(f"{key}: {value}\n" for key, value in made.items() if value is not None)
        + extra
        + "\n"
    )


def segment(number, name, label, layer=0, code="SCT^113197003^Rib"):
    tags = f"Segmentation.Status:inprogress|TerminologyEntry:list~SCT^123037004^Anatomical Structure~{code}~^^~a~^^~^^|"
    lines = {"ID": f"Segment_{number}", "LabelValue": label, "Layer": layer, "Name": name, "Tags": tags}
    lines |= {"Extent": "0 47 0 39 0 1", "Color": "1 1 0"}
    return "".join(f"Segment{number}_{key}:={value}\n" for key, value in sorted(lines.items()))


def written(path, head, data: bytes):
    path.write_bytes(head.encode() + data)
    return path


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_a_label_map_written_by_itk_is_read(tmp_path, compressed, dtype):
    image = SimpleITK.GetImageFromArray(np.stack([heart(), heart() * 0]).astype(dtype))
    image.SetSpacing((1.5, 1.25, 10))
    image.SetOrigin((10, 20, 30))
    SimpleITK.WriteImage(image, tmp_path / "a.nrrd", compressed)
    volume = read_nrrd_masks(tmp_path / "a.nrrd", label_map=SAME)
    np.testing.assert_array_equal(volume.areas["LV cavity"][0, 0], heart() == 1)
    np.testing.assert_allclose(volume.affine, LPS)
    target = CMRImage(np.zeros((1, 2, *SHAPE)), (1.25, 1.5), 10.0, LPS, "array", "array")
    (stack,) = volume.apply_to(target, patient="p").stacks
    np.testing.assert_array_equal(stack.masks[0], heart())


def test_segments_of_slicer_are_read_by_name_or_code(tmp_path):
    extra = (
        segment(0, "LV cavity", 1) + segment(1, "Segment_2", 2, code="SCT^49848007^Myocardium") + segment(2, "ribs", 3)
    )
    data = gzip.compress(np.stack([heart(), heart()]).tobytes())
    volume = read_nrrd_masks(written(tmp_path / "a.seg.nrrd", header(encoding="gzip", extra=extra), data))
    assert set(volume.areas) == {"LV cavity", "myocardium"}
    assert "segment 2 (label 3)" in volume.report[0]
    mapped = read_nrrd_masks(tmp_path / "a.seg.nrrd", label_map={"ribs": "RV"})
    np.testing.assert_array_equal(mapped.areas["RV"][0, 1], heart() == 3)


def test_overlapping_segments_lie_in_layers(tmp_path):
    layers = np.stack([disc(CENTRE, ENDO), disc(CENTRE, EPI)], axis=-1).astype(np.uint8)
    extra = segment(0, "endo", 1, 0) + segment(1, "epi", 1, 1)
    head = header("2 48 40 2", "list domain domain domain", extra=extra)
    volume = read_nrrd_masks(written(tmp_path / "a.seg.nrrd", head, np.stack([layers, layers]).tobytes()))
    np.testing.assert_array_equal(volume.areas["LV epicardium"][0, 1], disc(CENTRE, EPI))
    target = CMRImage(np.zeros((1, 2, *SHAPE)), (1.25, 1.5), 10.0, LPS, "array", "array")
    (stack,) = volume.apply_to(target, patient="p").stacks
    assert stack.drawn == (1, 2)
    assert (stack.masks[0] == 2).sum() == disc(CENTRE, EPI).sum() - disc(CENTRE, ENDO).sum()


def test_text_and_spaces_and_a_data_file_beside_the_header_are_read(tmp_path):
    text = " ".join(map(str, np.stack([heart()] * 2).ravel())).encode()
    volume = read_nrrd_masks(
        written(tmp_path / "a.nrrd", header(encoding="ascii", space="RAS", type="short"), text), label_map=SAME
    )
    np.testing.assert_allclose(volume.affine[:3, 3], [-10, -20, 30])
    (tmp_path / "a.raw").write_bytes(np.stack([heart()] * 2).tobytes())
    detached = written(tmp_path / "a.nhdr", header(data_file="a.raw"), b"")
    np.testing.assert_array_equal(read_nrrd_masks(detached, label_map=SAME).areas["RV"], volume.areas["RV"])
    assert (
        read_nrrd_masks(written(tmp_path / "b.nrrd", header(space=None), bytes(48 * 40 * 2)), label_map=SAME).affine
        is None
    )


WHOLE = np.stack([heart()] * 2).tobytes()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"no nrrd", "no NRRD"),
        (header().encode() + WHOLE[:-1], "truncated"),
        (header(encoding="gzip").encode() + b"no gzip", "damaged"),
        (header(encoding="gzip").encode() + gzip.compress(WHOLE)[:20], "truncated"),
        (header(encoding="bzip2").encode() + WHOLE, "encoding raw, gzip or text"),
        (header(encoding="ascii").encode() + b"1 2 x " * 9999, "damaged"),
        (header("48 40 2000000").encode() + WHOLE, "1 to 8192"),
        (header("8000 8000 8000").encode() + WHOLE, "4 GiB"),
        (header("48 40 0").encode(), "1 to 8192"),
        (header("48 40 x").encode(), "sizes"),
        (header(type="block").encode() + WHOLE, "type, sizes"),
        (header(type="short").encode() + WHOLE * 2, "endian"),
        (header("48 40 2 2", "domain domain domain time").encode() + WHOLE * 2, "save one volume"),
        (header(space_origin="(a,b,c)").encode() + WHOLE, "no vectors"),
        (header(extra=segment(0, "LV", "x")).encode() + WHOLE, "no number"),
        (header(extra=segment(0, "LV", 1, 5)).encode() + WHOLE, "no layer 5"),
        (header(extra=segment(0, "ribs", 1)).encode() + WHOLE, "no segment that this package"),
        (header().encode() + WHOLE, "nothing names"),
        (b"NRRD0004\n" + b"a: b\n" * 300_000, "1 MiB"),
    ],
)
def test_when_a_file_is_bad_then_it_says_so(tmp_path, content, says):
    (tmp_path / "bad.nrrd").write_bytes(content)
    with pytest.raises(ReadingError, match=says) as caught:
        read_nrrd_masks(tmp_path / "bad.nrrd")
    assert "bad.nrrd" in str(caught.value)


@pytest.mark.parametrize(
    "where",
    ["../secret.raw", "/etc/passwd", "LIST", "slice%03d.raw 1 2 1", "..", "a\\..\\b.raw", "C:secret.raw", "link.raw"],
)
def test_a_header_may_not_lead_out_of_its_folder(tmp_path, where):
    folder = tmp_path / "in"
    folder.mkdir()
    (tmp_path / "secret.raw").write_bytes(WHOLE)
    (folder / "link.raw").symlink_to(tmp_path / "secret.raw")
    with pytest.raises(ReadingError, match="one file of the same folder"):
        read_nrrd_masks(written(folder / "a.nhdr", header(data_file=where), b""), label_map=SAME)


def test_a_gzip_bomb_is_not_unpacked(tmp_path):
    path = written(tmp_path / "a.nrrd", header("8 8 1", encoding="gzip"), gzip.compress(bytes(50 * 1024**2)))
    with pytest.raises(ReadingError, match="no label"):
        read_nrrd_masks(path)
