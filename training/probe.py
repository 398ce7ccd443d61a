"""How much a pretrained backbone knows, beside random weights, raw pixels and a histogram of grey values.

    python training/probe.py --run runs/pretrain_vits8 --shards ../shards_real ../shards_probe_phantoms
    python training/probe.py --backbones my_backbone another --shards ../shards_real --out probes

k nearest neighbours and a linear classifier are fitted to frozen features for image type, view and disease, as far as
the shards have labels, so that no source names a class (`cmr_hf.pretraining.probe_tasks` says how). Phantoms to judge
on should be hearts that were not pretrained on, such as

    python training/prepare.py --dataset phantoms --first-seed 10000 --sides train validation --out shards_probe

With `--run`, every `step-N/backbone` in it and the release are probed; run again while the training goes on, it probes
new ones only. A run keeps them all with `keep_backbones=N`. `--out` gets `probes.json`, `probes.md` and `curves.png`.
"""

import argparse
import json
from pathlib import Path

import torch
from tqdm import tqdm

from cmr_hf.pretraining.backbones import BACKBONE, load_backbone
from cmr_hf.pretraining.probe_report import PRETRAINED, draw_curves, table
from cmr_hf.pretraining.probe_tasks import ProbeImages
from cmr_hf.pretraining.probing import backbone_features, baseline_features, compare
from cmr_hf.pretraining.release import RECORD, is_release


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="folder of a pretraining: all of its backbones, by their steps")
    parser.add_argument("--backbones", type=Path, nargs="+", default=[], help="folders of backbones or releases")
    parser.add_argument("--shards", type=Path, nargs="+", required=True, help="folders with labels")
    parser.add_argument("--out", type=Path, help="folder of the results (default: RUN/probes)")
    parser.add_argument("--seeds", type=int, default=3, help="of the probe, and of random weights")
    parser.add_argument("--side", type=int, default=128, help="of the middle of the pictures that is shown, in mm")
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 leaves its choice")
    options = parser.parse_args(arguments)
    if options.run is None and not options.backbones:
        parser.error("--run or --backbones is needed")
    if options.out is None and options.run is None:
        parser.error("--out is needed without --run")
    options.out = options.out or options.run / "probes"
    return options


def backbones_of(options: argparse.Namespace) -> dict[str, Path]:
    """Name (a step, where it is of a run) → folder."""
    found = {}
    if options.run:
        for folder in sorted(options.run.glob(f"step-*/{BACKBONE}")):
            found[str(int(folder.parent.name.removeprefix("step-")))] = folder
        if is_release(options.run / "release"):
            record = json.loads((options.run / "release" / RECORD).read_text(encoding="utf-8"))
            found.setdefault(str(record["step"]), options.run / "release")
    return found | {str(folder): folder for folder in options.backbones}


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    folders = backbones_of(options)
    if not folders:
        raise SystemExit(f"{options.run} has no step-*/{BACKBONE} yet: wait for the first `save_every`")
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "probes.json"
    probe = ProbeImages(options.shards, options.side)
    asked = {"tasks": [task.about() for task in probe.tasks], "seeds": options.seeds, "side": options.side}
    known = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if known.get("asked") != asked:  # other images or seeds: nothing that was found before compares
        first = load_backbone(next(iter(folders.values())))
        baselines = compare(baseline_features(first, probe, options.seeds), probe.tasks)
        known = {"asked": asked, "baselines": baselines, "backbones": {}}
        file.write_text(json.dumps(known, indent=1), encoding="utf-8")
    for name in tqdm([name for name in folders if name not in known["backbones"]], unit="backbone"):
        features = backbone_features(load_backbone(folders[name]).eval(), probe, options.seeds, PRETRAINED)
        known["backbones"][name] = compare(features, probe.tasks)
        file.write_text(json.dumps(known, indent=1), encoding="utf-8")
    last = list(known["backbones"])[-1]
    text = table([*known["backbones"][last], *known["baselines"]])
    (options.out / "probes.md").write_text(f"Backbone {last}, {len(probe.images)} images.\n\n{text}", encoding="utf-8")
    steps = {int(name): rows for name, rows in known["backbones"].items() if name.isdigit()}
    draw_curves(options.out / "curves.png", known["baselines"], steps)
    print(text)


if __name__ == "__main__":
    main()
