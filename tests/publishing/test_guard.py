"""Nothing leaves but a clean export."""

import getpass
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from cmr_hf.publishing import prepare
from cmr_hf.publishing.guard import check_folder, faults_of


@pytest.fixture(scope="module")
def exported(trained_for, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(trained_for("cmr-segmentation"), "ORG/tiny", tmp_path_factory.mktemp("export") / "tiny").folder


@pytest.fixture
def folder(exported: Path, tmp_path: Path) -> Path:
    return shutil.copytree(exported, tmp_path / "tiny")


def test_an_export_passes(folder):
    assert list(faults_of(folder)) == []
    check_folder(folder)


@pytest.mark.parametrize(
    "name",
    ["pytorch_model.bin", "optimizer.pt", "last.ckpt", "cache.pkl", "state.pth", "weights.npz", "scaler.joblib"],
)
def test_what_may_run_code_is_refused(folder, name):
    (folder / name).write_bytes(b"\x80\x04.")
    with pytest.raises(ValueError, match=f"tiny must not be published: {name} may run code"):
        check_folder(folder)


@pytest.mark.parametrize("name", ["heart.dcm", "overlay.png", "scan.nii.gz", "study.zip", "slice.JPG", "IM0001.IMA"])
def test_what_may_show_a_patient_is_refused(folder, name):
    (folder / name).write_bytes(b"x")
    with pytest.raises(ValueError, match=f"{name} may be or hold a patient's picture"):
        check_folder(folder)


@pytest.mark.parametrize("name", ["notes.txt", ".DS_Store", "training.json", "model.safetensors.old", "setup.py"])
def test_what_no_export_writes_is_refused(folder, name):
    (folder / name).write_text("{}")
    with pytest.raises(ValueError, match=f"{name} is not part of an export"):
        check_folder(folder)


def test_folders_and_links_are_refused(folder, tmp_path):
    (folder / "runs").mkdir()
    (tmp_path / "secret").write_text("{}")
    (folder / "results.json").unlink()
    (folder / "results.json").symlink_to(tmp_path / "secret")
    assert list(faults_of(folder)) == ["results.json is a link", "runs is a folder, an export has none"]


def test_all_faults_are_told_at_once(folder):
    (folder / "optimizer.pt").write_bytes(b"x")
    (folder / "overlay.png").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"optimizer\.pt .*; overlay\.png .*Remove or mend these"):
        check_folder(folder)


@pytest.mark.parametrize(
    "path",
    [
        "/home/jane/data/acdc",
        "/Users/jane/x",
        "/data/hospital/p1",
        "C:\\\\Users\\\\jane",
        "file:///mnt/x",
        "~/acdc",
        "/root/x",
    ],
)
@pytest.mark.parametrize("name", ["config.json", "results.json", "README.md"])
def test_a_path_of_a_machine_is_refused(folder, name, path):
    file = folder / name
    if name.endswith(".json"):
        file.write_text(json.dumps(json.loads(file.read_text()) | {"source": path.replace("\\\\", "\\")}))
    else:
        file.write_text(file.read_text() + f"\nTrained on {path}.\n")
    with pytest.raises(ValueError, match=f"{name} names a path of a machine"):
        check_folder(folder)


@pytest.mark.parametrize(
    "text", ["https://host.org/home/jane/x", "see docs/data/x and a/root/b", "50/50", "and/or", "[a](./data/x.md)"]
)
def test_an_address_or_a_relative_path_is_none(folder, text):
    (folder / "README.md").write_text((folder / "README.md").read_text() + f"\n{text}\n")
    check_folder(folder)


def test_the_name_of_the_user_is_refused_but_not_inside_another_word(folder, monkeypatch):
    monkeypatch.setattr(getpass, "getuser", lambda: "jdoe")
    (folder / "LICENSE").write_text("Apache License, majdoey")
    check_folder(folder)
    (folder / "LICENSE").write_text("Copyright jdoe")
    with pytest.raises(ValueError, match="LICENSE names the user jdoe"):
        check_folder(folder)


def test_an_account_that_is_nobody_is_no_name(folder, monkeypatch):
    monkeypatch.setattr(getpass, "getuser", lambda: "user")
    (folder / "LICENSE").write_text("the user may copy")
    check_folder(folder)


def test_tokens_and_pictures_inside_a_text_are_refused(folder):
    readme = folder / "README.md"
    readme.write_text(readme.read_text() + "\nhf_" + "a" * 34 + "\n![x](data:image/png;base64,AAAA)\n")
    assert list(faults_of(folder)) == ["README.md holds a token of the Hub", "README.md holds a picture"]


def test_code_that_is_not_this_packages_is_refused(folder):
    code = folder / "modeling_cmr.py"
    code.write_text(code.read_text() + "\nimport os\n")
    (folder / "evil_cmr.py").write_text("import os")
    assert list(faults_of(folder)) == [
        "evil_cmr.py is not the code of this package",
        "modeling_cmr.py is not the code of this package",
    ]


@pytest.mark.parametrize("content", [b"", b"\x80\x04.", b"PK\x03\x04" + b"x" * 60, b"\xff" * 64])
def test_weights_that_are_no_safetensors_are_refused(folder, content):
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.safetensors is no safetensors file"):
        check_folder(folder)


def test_weights_with_something_behind_them_or_cut_short_are_refused(folder):
    file = folder / "model.safetensors"
    whole = file.read_bytes()
    for content in (whole + b"hidden", whole[:-1]):
        file.write_bytes(content)
        with pytest.raises(ValueError, match="cut short or has something behind"):
            check_folder(folder)


def test_free_text_in_the_header_of_weights_is_read_too(folder):
    save_file({"a": torch.zeros(2)}, folder / "model.safetensors", metadata={"from": "/home/jane/run3"})
    with pytest.raises(ValueError, match=r"model\.safetensors names a path of a machine, /home/jane"):
        check_folder(folder)


def test_json_that_is_none_and_text_that_is_none_are_refused(folder):
    (folder / "results.json").write_text("{")
    (folder / "LICENSE").write_bytes(b"\xff\xfe\x00")
    assert list(faults_of(folder)) == ["LICENSE is not text", "results.json is not JSON"]


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="the folder is empty"):
        check_folder(tmp_path)
