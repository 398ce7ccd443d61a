"""training/prepare.py: what is MR is packed once, what is not is reported, nobody is named, and kills cost nothing."""

import csv
import json
import multiprocessing
import os
import random
import runpy
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import nibabel
import numpy as np
import pytest

from cmr_hf.data.shards import ShardSet
from tests.dicom_factory import PATIENT, write_slice

SIDE = 40


def noise(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(50, 900, (SIDE, SIDE + 6)).astype(np.uint16)


def write_tree(root: Path, series: int = 3, images: int = 4) -> int:
    """DICOM series in folders named like people, and how many images that is."""
    for number in range(series):
        for index in range(images):
            write_slice(
                root / f"Secret_Person_{number}" / f"im{index}.dcm",
                noise(100 * number + index),
                SeriesInstanceUID=f"1.2.3.{number}",
                ImagePositionPatient=[0, 0, 8 * index],
                InstanceNumber=index + 1,
            )
    return series * images


def run(script: str, arguments: list[str], unit_bytes: int | None = None) -> None:
    if unit_bytes:
        from cmr_hf.data.shards import packing

        packing.LEAST_UNIT_BYTES = packing.UNIT_BYTES = unit_bytes
    runpy.run_path(script, run_name="prepare")["main"](arguments)


@pytest.fixture
def prepare(repo_root: Path, monkeypatch):
    """Runs the script in this process."""
    from cmr_hf.data.shards import packing

    monkeypatch.setattr(packing, "LEAST_UNIT_BYTES", 10_000)

    def call(*arguments: object) -> None:
        run(str(repo_root / "training" / "prepare.py"), [str(one) for one in arguments])

    return call


def hashes(out: Path) -> list[str]:
    return sorted(ShardSet(out).column("source_hash"))


def test_images_are_packed_at_1_mm_and_what_is_not_mr_is_reported(tmp_path: Path, prepare):
    tree, out = tmp_path / "tree", tmp_path / "out"
    count = write_tree(tree)
    write_slice(tree / "ct.dcm", noise(1), Modality="CT", SOPClassUID="1.2.840.10008.5.1.4.1.1.2")
    (tree / "cut.dcm").write_bytes((tree / "Secret_Person_0" / "im0.dcm").read_bytes()[:700])
    (tree / "notes.txt").write_text("not an image")
    write_slice(tree / "blank.dcm", np.full((SIDE, SIDE), 7, np.uint16), SeriesInstanceUID="1.2.3.99")
    cine = np.random.default_rng(3).integers(0, 500, (30, 34, 2, 3)).astype(np.int16)
    nibabel.Nifti1Image(cine, np.diag([2.0, 2.0, 8.0, 1.0])).to_filename(tree / "cine.nii.gz")
    prepare("--source", tree, "--out", out, "--name", "hospital", "--workers", 0)

    shards = ShardSet(out)
    assert len(shards) == count + 6
    assert set(shards.column("source")) == {"hospital"}
    extents = {tuple(shards[index]["extent"]) for index in range(len(shards))}
    assert extents == {(50, 70), (68, 60)}, "1.25 x 1.5 mm and 2 x 2 mm became 1 mm"
    with open(tmp_path / "out_local" / "report.csv", newline="") as file:
        report = {Path(row["file"]).name: row["reason"] for row in csv.DictReader(file)}
    assert {"ct.dcm", "cut.dcm", "blank.dcm"} <= report.keys()
    assert "CT" in report["ct.dcm"]


def test_nobody_is_named_in_what_may_be_given_away(tmp_path: Path, prepare):
    write_tree(tmp_path / "tree")
    prepare("--source", tmp_path / "tree", "--out", tmp_path / "out", "--name", "hospital", "--workers", 0)
    for path in (tmp_path / "out").rglob("*"):
        if path.is_file():
            held = path.read_bytes().lower() + path.name.lower().encode()
            for secret in (*PATIENT.values(), "secret", "1.2.3.", str(tmp_path)):
                assert secret.lower().encode() not in held, f"{secret} in {path.name}"


def test_running_again_adds_only_what_is_new(tmp_path: Path, prepare):
    tree, out = tmp_path / "tree", tmp_path / "out"
    count = write_tree(tree)
    arguments = ("--source", tree, "--out", out, "--name", "hospital", "--workers", 0)
    prepare(*arguments)
    first = hashes(out)
    prepare(*arguments)
    assert hashes(out) == first
    write_slice(tree / "new" / "a.dcm", noise(999), SeriesInstanceUID="1.2.3.77")
    prepare(*arguments)
    assert len(hashes(out)) == count + 1


def test_several_machines_share_the_work_and_one_manifest_has_it_all(tmp_path: Path, prepare, monkeypatch):
    tree = tmp_path / "tree"
    count = write_tree(tree, series=6)
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", "3")
        prepare("--source", tree, "--out", tmp_path / "out", "--name", "hospital", "--workers", 0)
    found = hashes(tmp_path / "out")
    assert len(found) == len(set(found)) == count


def test_when_a_known_data_set_has_no_split_then_it_is_refused(tmp_path: Path, prepare, capsys):
    with pytest.raises(SystemExit):
        prepare("--source", tmp_path, "--dataset", "acdc", "--out", tmp_path / "out")
    assert "test patients are never pretrained on" in capsys.readouterr().err


def test_phantoms_are_packed_with_their_labels(tmp_path: Path, prepare, monkeypatch):
    from cmr_hf.data import readers
    from cmr_hf.data.phantom_set import list_phantom_patients

    whole = readers.READERS["phantoms"]
    few = replace(
        whole, patients=lambda *_: list_phantom_patients(hearts=1), read=partial(whole.read, series=("lge_4ch",))
    )
    monkeypatch.setitem(readers.READERS, "phantoms", few)
    prepare("--dataset", "phantoms", "--out", tmp_path / "out", "--workers", 0)
    shards = ShardSet(tmp_path / "out")
    assert shards.column("disease") == ["NORM"]
    assert shards.column("view") == ["4CH"]
    assert set(shards.column("source")) == {"phantoms"}


def test_as_many_phantoms_of_such_seeds_as_asked_for_are_on_some_side():
    from cmr_hf.data.shards.sources import Choice, dataset_items
    from cmr_hf.phantoms.people import disease_and_seed

    items = list(
        dataset_items("phantoms", "", None, ["train", "validation", "test"], Choice(), hearts=10, first_seed=50)
    )
    assert sorted(disease_and_seed(item.names[0])[1] for item in items) == list(range(50, 60))
    assert {item.labels["side"] for item in items} == {"train", "validation", "test"}


def test_ten_kills_at_random_leave_the_same_images_as_one_clean_run(tmp_path: Path, repo_root: Path):
    tree = tmp_path / "tree"
    count = write_tree(tree, series=12, images=4)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["cmr_hf.data.shards.packing", "cmr_hf.data.loading", __name__])
    script = str(repo_root / "training" / "prepare.py")

    def start(out: Path) -> multiprocessing.Process:
        arguments = ["--source", str(tree), "--out", str(out), "--name", "hospital", "--workers", "0"]
        process = context.Process(target=run, args=(script, arguments, 10_000))
        process.start()
        return process

    for out in ("warm", "clean"):  # the first one waits for the imports
        began = time.perf_counter()
        process = start(tmp_path / out)
        process.join()
        assert process.exitcode == 0
    needed = time.perf_counter() - began
    clean = hashes(tmp_path / "clean")
    assert len(clean) == count

    rng, kills, folders = random.Random(5), 0, [tmp_path / "killed0"]
    while kills < 10 and len(folders) < 30:
        process = start(folders[-1])
        process.join(rng.uniform(0.1, 0.6) * needed)
        if process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        else:  # it came to its end: that one is done, the next kills hit another
            folders.append(tmp_path / f"killed{len(folders)}")
        process.join()
    assert kills == 10
    process = start(folders[-1])
    process.join()
    assert process.exitcode == 0
    for out in folders:
        assert hashes(out) == clean
    pictures = [
        {index["source_hash"]: index["image"].tobytes() for index in map(ShardSet(folder).__getitem__, range(count))}
        for folder in (tmp_path / "clean", out)
    ]
    assert pictures[0] == pictures[1]
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["images"] == count


@pytest.mark.slow
def test_accelerate_launch_shares_the_work_between_processes(tmp_path: Path, repo_root: Path):
    count = write_tree(tmp_path / "tree", series=6)
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    launch += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    script = [str(repo_root / "training" / "prepare.py"), "--name", "hospital", "--workers", "0"]
    done = subprocess.run(
        [*launch, *script, "--source", str(tmp_path / "tree"), "--out", str(tmp_path / "out")],
        env=os.environ | {"PYTHONPATH": str(repo_root / "src"), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=500,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = hashes(tmp_path / "out")
    assert len(found) == len(set(found)) == count
    locks = {path.name for path in (tmp_path / "out_local").glob("*.lock")}
    assert locks == {"hospital-0-of-2.lock", "hospital-1-of-2.lock"}, "each process had its share"
