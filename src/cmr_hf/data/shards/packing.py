"""Items -> shards, on all cores; what a broken file does to a process is reported too."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...hub.checking_cmr import ReadingError, file_head, files_below
from ...hub.nifti_cmr import read_nifti
from ...hub.unpacking_cmr import unpacked
from ..readers import read
from .cropping import Volume, blank, first_of_each, looks_like_ct, looks_like_labels
from .dicom_series import LeftOut, ReadVolume, dicom_volumes
from .journal import Journal
from .kinds import CINE_PHASES
from .records import Record, joint_hash
from .sources import Item, key_of
from .writer import ShardWriter

UNIT_BYTES = 256 * 1024**2  # of source files: about 2,000 single-frame files, one shard
LEAST_UNIT_BYTES = 8 * 1024**2
_DIED = "reading it ended the process (out of memory, or a decoder's fault): look at the file, or leave it out"

Unit = list[Item]
Labels = dict[str, Any]


def pack_unit(unit: Unit, out: Path, local: Path, source: str) -> dict[str, Any]:
    """Reads the items of a unit and writes their images into shards that do not show yet.

    Args:
        unit: what to read.
        out, local: folders of the shards and of the journal.
        source (`str`): name of the source, beside every image.

    Returns:
        The unit's record, for `Journal.commit`.
    """
    left_out: LeftOut = []
    keys = sorted(key for item in unit for key in item.keys)
    writer = ShardWriter(out, f"{key_of(*keys):016x}", local=local)
    try:
        for item in unit:
            for found, labels in _volumes(item, left_out):
                _add(writer, found, {"source": source, **item.labels, **labels}, left_out)
        shards = writer.pending()
    except BaseException:
        writer.abandon()
        raise
    return {"unit": writer.unit, "items": keys, "shards": shards, "left_out": left_out}


def _add(writer: ShardWriter, found: ReadVolume, labels: Labels, left_out: LeftOut) -> None:
    hashes = found.volume.hashes
    series = joint_hash(hashes)
    new = first_of_each(hashes)
    for at, picture in enumerate(found.volume.pictures()):
        reason = blank(picture) if new[at] else "has the same pixels as another image of its series"
        if reason is not None:
            left_out.append({"file": found.names[at], "reason": f"{found.names[at]} {reason}"})
            continue
        record = Record(
            source_hash=hashes[at],
            series_hash=series,
            spacing_mm=found.volume.spacing_mm,
            slice_index=found.places[at][0],
            phase_index=found.places[at][1],
            series_kind=found.kind,
            **labels,
        )
        writer.add(picture, record)


def _volumes(item: Item, left_out: LeftOut) -> Iterator[tuple[ReadVolume, Labels]]:
    """The volumes of an item, and labels that they bring; what cannot be read goes to `left_out`."""
    if item.kind == "patient":
        yield from _patient(item, left_out)
        return
    if item.kind == "files":
        for found in dicom_volumes(item.files(), left_out):
            yield found, {}
        return
    path, name = item.files()[0]
    try:
        file_head(path, name)  # refuses what is too large, or no file
        if item.kind == "nifti":
            yield _nifti(path, name), {}
            return
        with unpacked(path, name) as (folder, rest):
            left_out += [{"file": os.path.join(name, one["file"]), "reason": one["reason"]} for one in rest]
            inner = [(file, f"{name}/{file.relative_to(folder).as_posix()}") for file in files_below(folder)]
            for found in dicom_volumes(inner, left_out):
                yield found, {}
    except (OSError, ValueError) as error:
        text = str(error) if isinstance(error, ReadingError) else f"{name} cannot be read ({type(error).__name__})"
        left_out.append({"file": name, "reason": text})


def _nifti(path: Path, name: str) -> ReadVolume:
    image = read_nifti(path, name, None)
    if looks_like_labels(image.pixels):
        raise ReadingError(f"{name} looks like a label map, few different whole numbers: pass the image")
    if looks_like_ct(image.pixels):
        raise ReadingError(f"{name} looks like CT, air at -1000: pass MR")
    phases, slices = image.pixels.shape[:2]
    places = [(z, t) for t in range(phases) for z in range(slices)]
    found = _volume(image.pixels.reshape(-1, *image.pixels.shape[2:]), image.spacing_mm)
    names = [f"{name} slice {z} phase {t}" for z, t in places]
    return ReadVolume(found, names, places, "cine" if phases >= CINE_PHASES else None)


def _volume(slices: np.ndarray, spacing_mm: tuple[float, float] | None) -> Volume:
    volume = Volume(spacing_mm)
    for one in slices:
        volume.add(one)
    return volume


def _patient(item: Item, left_out: LeftOut) -> Iterator[tuple[ReadVolume, Labels]]:
    """Stacks of one patient of a known data set, ED and ES as they are read, with their labels."""

    def report(patient: str, error: Exception) -> None:
        left_out.append({"file": f"{item.below} {patient}", "reason": str(error)})

    for stack in read(item.below, item.folder, list(item.names), on_error=report):
        volume = _volume(stack.images, stack.spacing_mm)
        places = [(z, stack.phase_index) for z in stack.slice_indices]
        name = f"{item.below} {stack.patient} {stack.series} phase {stack.phase_index}"
        labels = {key: getattr(stack, key) for key in ("image_type", "view", "disease", "lge", "licence", "source")}
        yield ReadVolume(volume, [f"{name} slice {z}" for z, _ in places], places, stack.image_type), labels


def pack(
    units: list[Unit],
    out: Path,
    journal: Journal,
    source: str,
    workers: int,
    progress: Callable[[dict[str, Any]], None],
) -> None:
    """Packs units in processes of their own, and commits each as it is done.

    A unit that ends its process, or fails in a way that no reader foresaw, is tried again alone, then in halves, until
    the one file that does so is found and reported.

    Args:
        units: what is to be done.
        out (`Path`): the folder of the shards.
        journal: of `out`.
        source (`str`): name of the source.
        workers (`int`): processes; 0 works in this one, where a file that ends its process ends everything.
        progress: called with each record that was committed.

    Raises:
        OSError: shards cannot be written, as on a full disk.
    """
    arguments = (out, journal.local, source)
    run = _in_processes if workers else _in_this_process
    suspects: list[Unit] = []

    def commit(record: dict[str, Any]) -> None:
        journal.commit(record)
        progress(record)

    for unit, result in run(units, arguments, workers):
        suspects.append(unit) if isinstance(result, str) else commit(result)
    while suspects:
        unit = suspects.pop()
        ((_, result),) = run([unit], arguments, 1)
        if not isinstance(result, str):
            commit(result)
        elif parts := _halves(unit):
            suspects += parts
        else:
            commit(_refused(unit[0], result))


def _halves(unit: Unit) -> list[Unit]:
    """Two smaller units; none where there is one file."""
    if len(unit) > 1:
        return [unit[: len(unit) // 2], unit[len(unit) // 2 :]]
    return [[half] for half in unit[0].halves()] if len(unit[0].names) > 1 else []


def _refused(item: Item, reason: str) -> dict[str, Any]:
    """The record of one file that cannot be read."""
    name = os.path.join(item.below, item.names[0])
    left_out = [{"file": name, "reason": f"{name}: {reason}"}]
    return {"unit": f"{key_of(*item.keys):016x}", "items": list(item.keys), "shards": [], "left_out": left_out}


def _in_this_process(units: list[Unit], arguments: tuple, workers: int) -> Iterator[tuple[Unit, dict[str, Any] | str]]:
    for unit in units:
        yield unit, _result(lambda unit=unit: pack_unit(unit, *arguments))


def _in_processes(units: list[Unit], arguments: tuple, workers: int) -> Iterator[tuple[Unit, dict[str, Any] | str]]:
    """Each unit with its record; or with a reason, where the process died that had it or another beside it."""
    remaining = iter(units)
    more = True
    while more:
        running: dict[Future, Unit] = {}
        pool = ProcessPoolExecutor(workers, get_context("spawn"), _begin, (os.getpid(),))
        try:
            broken = False
            while not broken:
                while more and len(running) < workers + 1:
                    unit = next(remaining, None)
                    more = unit is not None
                    if unit is not None:
                        running[pool.submit(pack_unit, unit, *arguments)] = unit
                if not running:
                    break
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    result = _result(future.result)
                    broken |= result == _DIED
                    yield running.pop(future), result
            for unit in running.values():
                yield unit, _DIED
        finally:
            pool.shutdown(cancel_futures=True)


def _result(get: Callable[[], dict[str, Any]]) -> dict[str, Any] | str:
    """A record, or why there is none."""
    try:
        return get()
    except BrokenProcessPool:
        return _DIED
    except OSError:  # of writing: reading has its own errors
        raise
    except Exception as error:  # what no reader foresaw must not stop the others
        return f"cannot be read ({type(error).__name__}): look at the file, or leave it out"


def _begin(parent: int) -> None:
    """One thread for each process; and an end when the parent is gone, which could not take the work any more."""
    torch.set_num_threads(1)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def size_of_units(items: list[Item], workers: int) -> int:
    """Bytes of source files in a unit: few enough that all workers have some to do."""
    share = sum(item.size for item in items) // (4 * max(workers, 1))
    return min(max(share, LEAST_UNIT_BYTES), UNIT_BYTES)
