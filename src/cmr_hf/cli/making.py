"""`cmr-hf phantom`: a study of a heart made from equations, as DICOM, and what is true of it."""

import argparse
from pathlib import Path

from .common import WrongUsageError

# as cmr_hf.phantoms has them, which takes seconds to import; a test compares
DISEASES = ("NORM", "DCM", "HCM", "RV", "MINF")
SERIES = (
    "localizer", "cine_2ch", "cine_3ch", "cine_4ch", "cine_lvot", "cine_aorta", "cine_sax", "molli", "t1_native",
    "t2_prepared", "t2_map", "lge_sax", "lge_sax_psir", "lge_4ch", "t1_post",
)  # fmt: skip


def add_phantom(command: argparse.ArgumentParser) -> None:
    """The command's options."""
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder: dicom/ and truth/")
    command.add_argument("--disease", choices=DISEASES, default="NORM", help="default NORM")
    command.add_argument("--seed", type=int, default=0, metavar="N", help="who it is; another seed, another person")
    command.add_argument("--series", nargs="+", choices=SERIES, metavar="NAME", help=f"of {', '.join(SERIES)}")
    command.add_argument("--phases", type=int, default=25, metavar="N", help="of each cine (default 25)")
    command.add_argument("--slices", type=int, metavar="N", help="of a short-axis stack (default: the whole ventricle)")
    command.add_argument("--matrix", nargs=2, type=int, default=(192, 224), metavar=("R", "C"), help="default 192 224")
    command.add_argument("--spacing-mm", type=float, default=1.5, metavar="MM", help="between pixels (default 1.5)")
    command.add_argument("--thickness-mm", type=float, default=8.0, metavar="MM", help="of a slice (default 8)")
    command.add_argument("--gap-mm", type=float, default=2.0, metavar="MM", help="between slices (default 2)")
    command.add_argument("--ideal", action="store_true", help="no noise, no coil, no artefacts")
    command.add_argument("--multiframe", action="store_true", help="Enhanced MR: one file a series")
    command.add_argument("--series-per-slice", action="store_true", help="each slice of a stack is its own series")
    command.add_argument("--no-trigger-times", action="store_true", help="headers do not say when in the cycle")
    maps = "maps say their ms in a RealWorldValueMapping, not in RescaleSlope"
    command.add_argument("--real-world-values", action="store_true", help=maps)
    command.add_argument("--shuffled-names", action="store_true", help="one folder, names that say nothing")
    command.set_defaults(run=phantom)


def phantom(args: argparse.Namespace) -> int:
    """Writes the study and prints what is true of it."""
    from tqdm import tqdm

    from ..phantoms import Dialect, Protocol, Scanner, write_study

    rows, columns = args.matrix
    try:
        protocol = Protocol(
            tuple(args.series or ()),
            args.phases,
            args.slices,
            args.thickness_mm,
            args.gap_mm,
            args.spacing_mm,
            rows,
            columns,
        )
        dialect = Dialect(
            args.multiframe,
            not args.no_trigger_times,
            args.series_per_slice,
            args.real_world_values,
            args.shuffled_names,
        )
        known = write_study(
            args.out,
            args.disease,
            args.seed,
            protocol,
            dialect,
            Scanner.ideal() if args.ideal else None,
            lambda series: tqdm(series, unit="series", disable=None, leave=False),
        )
    except ValueError as error:
        raise WrongUsageError(str(error)) from error
    _tell(known, args.out)
    return 0


def _tell(known: dict, out: Path) -> None:
    volumes = known["volumes_ml"]
    print(f"{known['patient']}, {known['disease']}, {known['field_t']:g} T, scar {known['lge']}")
    print(
        f"LV {volumes['lv_ed']:.1f} ml at end diastole, {volumes['lv_es']:.1f} ml at end systole, EF "
        f"{100 * known['lv_ef']:.1f} %, mass {known['lv_mass_g']:.1f} g"
    )
    for one in known["series"]:
        print(f"{one['number']:3d} {one['name']}: {one['dicom_files']} files, (t, z, y, x) = {tuple(one['shape'])}")
    print(f"DICOM in {out / 'dicom'}, truth in {out / 'truth'}: made from equations, no patient")
