"""A model's card from its own files: words from `card.toml`, numbers from `results.json`, facts from the export."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

from .. import __version__
from ..hub.configuration_cmr import CMRConfig
from ..hub.image_processing_cmr import CMRImageProcessor
from . import shape
from .card import MARK, licence_of
from .export import ENCODER_TASK, LEGAL, TASKS
from .measured import NOT_MEASURED, Number, controls, eval_results, key_of, notes, numbers
from .weight_files import count_parameters, stored_dtype
from .words import Words

TEMPLATE = Path(__file__).with_name("model_card.md")
NOT_STATED = "Not stated."
NO_RECIPE = f"**Recipe.** {NOT_STATED}"
LOCAL = ("root", "data_root", "splits", "output_dir")  # where it was trained, not how
TAGS = ["cardiac-mri", "cmr", "medical-imaging"]
# What a reader asks of a recipe first; the whole of it is in results.json
RECIPE = (
    "arm", "dataset", "train_on", "init_from", "max_steps", "num_train_epochs", "per_device_train_batch_size",
    "learning_rate", "lr_scheduler_type", "warmup_steps", "weight_decay", "crop_sizes", "bf16", "fp16", "seed",
)  # fmt: skip


@dataclass(frozen=True)
class Facts:
    """What the files of an export say: library and tag as the Hub names them, licence, a line, rows of a table."""

    library: str
    tag: str
    licence: str
    summary: str
    rows: Mapping[str, str]
    recipe: str


def full_card(
    folder: Path,
    repo: str,
    task: str,
    words: Words | None = None,
    results: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
) -> str:
    """The README.md of a released model: header with `model-index`, and every section of `model_card.md`.

    Args:
        folder (`Path`): an export; its configuration, processor, weights and licence are described.
        repo (`str`): ORG/NAME, for the examples.
        task (`str`): of `TASKS`, or `shape.TASK`.
        words (`Words`, *optional*): of its makers; a section without any says "not stated".
        results (mapping, *optional*): `results.json`; without it the card says "not measured".
        training (mapping, *optional*): `training.json`, where `results` has no `training`.

    Returns:
        Markdown with a YAML header.
    """
    words, results = words or Words(), dict(results or {})
    told = "training" in results  # results.json travels with the weights, training.json does not
    if training and not told:
        results["training"] = training
    found, training = numbers(results), results.get("training")
    about = _facts_of_shape(folder, training) if task == shape.TASK else _facts(folder, task, training, told)
    name = repo.split("/")[-1]
    card = ModelCard.from_template(
        _header(folder, name, task, about, words, found),
        template_str=TEMPLATE.read_text(encoding="utf-8"),
        title=words.title or name,
        mark=MARK,
        repo=repo,
        task=task,
        version=__version__,
        summary=words.summary or about.summary,
        architecture=_rows(about.rows),
        intended=_points(words.intended),
        out_of_scope=_points(words.out_of_scope),
        data=_data(words, results, told),
        recipe=about.recipe,
        cost=_cost(results),
        tables=_tables(found, controls(results), notes(results)),
        how_measured=words.how_measured,
        not_measured="; ".join(words.not_measured) + "." if words.not_measured else "not stated.",
        limits=_points(words.limits),
        bias=_points(words.bias),
        licence_words=words.licence or f"`{about.licence}`; the text is in this repository.",
        citations="\n".join(f"- {one.name}: {one.citation}" for one in words.data if one.citation),
    )
    return str(card).rstrip() + "\n"


def _header(folder: Path, name: str, task: str, about: Facts, words: Words, found: list[Number]) -> ModelCardData:
    own = about.licence in ("other", "unknown")
    results = eval_results(found, about.tag, task)
    metrics = list(dict.fromkeys(result.metric_type for result in results))
    # the Hub links ids of data sets that it has; a bare word here would point at a stranger's
    return ModelCardData(
        library_name=about.library,
        pipeline_tag=about.tag,
        license="other" if own else about.licence,
        license_name="see-licence-file" if own else None,
        license_link=next((file.name for file in _legal(folder)), None) if own else None,
        tags=[*TAGS, task, *words.tags],
        metrics=metrics or None,
        model_name=name,
        eval_results=results or None,
    )


def _facts(folder: Path, task: str, training: Mapping[str, Any] | None, told: bool) -> Facts:
    config = CMRConfig.from_pretrained(folder)
    licence = getattr(config, "weights_license", None) or licence_of(_legal(folder))
    rows, recipe = _architecture(folder, config, task), _recipe(training, told)
    return Facts("transformers", TASKS[task].tag, licence, _bare_summary(task, config), rows, recipe)


def _facts_of_shape(folder: Path, training: Mapping[str, Any] | None) -> Facts:
    licence = shape.licence_of_shape(folder) or licence_of(_legal(folder))
    summary = "Disease from the measured shape of a heart, by a linear classifier of `cmr_hf`."
    recipe = shape.recipe_of(training) if training else NO_RECIPE
    return Facts("cmr_hf", shape.TAG, licence, summary, shape.facts_of(folder), recipe)


def _legal(folder: Path) -> list[Path]:
    return sorted(file for pattern in LEGAL for file in folder.glob(pattern))


def _bare_summary(task: str, config: CMRConfig) -> str:
    labels = ", ".join(name for _, name in sorted(config.id2label.items()))
    return f"A cardiac MR model of `cmr_hf` for `{task}`" + (f": {labels}." if task != ENCODER_TASK else ".")


def _points(points: list[str]) -> str:
    return "\n".join(f"- {point}" for point in points) or NOT_STATED


def _rows(rows: Mapping[str, str]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])


def _architecture(folder: Path, config: CMRConfig, task: str) -> dict[str, str]:
    """What the files say of a model."""
    encoder = config.backbone_config
    if encoder.model_type == "resnet":
        kind = f"ResNet, stages of {', '.join(map(str, encoder.depths))} blocks, {encoder.hidden_sizes[-1]} wide"
    else:
        kind = (
            f"vision transformer, {encoder.num_hidden_layers} blocks, {encoder.hidden_size} wide, "
            f"{encoder.num_attention_heads} heads, patches of {encoder.patch_size} px"
        )
    rows = {"encoder": kind}
    if task == "cmr-segmentation":
        rows["decoder"] = f"{config.decoder_type}, channels {', '.join(map(str, config.decoder_channels))}"
    if task != ENCODER_TASK:
        what = "landmarks" if task == "cmr-landmark-detection" else "classes"
        rows[what] = ", ".join(name for _, name in sorted(config.id2label.items()))
    processor = CMRImageProcessor.from_pretrained(folder)
    rows["input"] = (
        f"{processor.size} × {processor.size} px of {processor.spacing_mm:g} mm around the middle; the "
        f"{processor.percentile:g}th percentile of each slice becomes the brightest; without a pixel spacing "
        f"{processor.default_spacing_mm:g} mm is assumed"
    )
    stored = str(stored_dtype(folder) or "several formats").removeprefix("torch.")
    rows["weights"] = f"{count_parameters(folder) / 1e6:.2f} M numbers, stored as {stored}, computed in float32"
    return rows


def _data(words: Words, results: Mapping[str, Any], told: bool) -> str:
    lines = ["| data | use | licence | split |", "|---|---|---|---|"]
    lines += [f"| {one.name} | {one.use} | {one.licence} | {one.split} |" for one in words.data]
    trained = (results.get("training") or {}).get("train_patients")
    where = "; `results.json` lists their pseudonyms" if told else ""
    count = f"{len(trained)} patients were trained on{where}." if trained else ""
    parts = ["\n".join(lines) if words.data else "", count]
    return "\n\n".join(part for part in parts if part) or NOT_STATED


def _recipe(training: Mapping[str, Any] | None, told: bool) -> str:
    recipe = (training or {}).get("recipe") or {}
    shown = {name: recipe[name] for name in RECIPE if name in recipe}
    if not shown:
        return NO_RECIPE
    rows = (f"| `{name}` | {_value(value)} |" for name, value in shown.items())
    more = "Keys are those of `training/finetune.py`" + ("; `results.json` has the whole recipe." if told else ".")
    return "\n".join(["| recipe | |", "|---|---|", *rows, "", more])


def _value(value: Any) -> str:
    """A value in a cell; of a path the last part, and none of what is only so on one machine."""
    if isinstance(value, (list, tuple)):
        return ", ".join(_value(one) for one in value)
    if isinstance(value, Mapping):
        return " ".join(f"{name} {_value(one)}" for name, one in value.items() if name not in LOCAL)
    if isinstance(value, str) and Path(value).is_absolute():
        return Path(value).name
    return f"{value:g}" if isinstance(value, float) else str(value)


def _cost(results: Mapping[str, Any]) -> str:
    parts = []
    for who, record in (
        ("", results.get("training")),
        ("The control: ", (results.get("control") or {}).get("training")),
    ):
        if not record or "minutes" not in record:
            continue
        steps = f"{record['steps']} steps in " if "steps" in record else ""
        threads = (
            f" on {record['threads']} CPU thread{'s' if record['threads'] != 1 else ''}" if "threads" in record else ""
        )
        where = record.get("hardware") or threads.removeprefix(" on ")
        note = f" ({record['note']})" if record.get("note") else ""
        torch = f", torch {record['torch']}" if "torch" in record else ""
        parts.append(f"{who}{steps}{record['minutes']:g} minutes{' on ' + where if where else ''}{torch}{note}.")
    return " ".join(parts) or NOT_STATED


def _tables(found: list[Number], others: Mapping[tuple, Number], remarks: list[str]) -> str:
    """One table for what the model was tested on, what is to know of it, one for what its checkpoint was chosen by."""
    tests = [number for number in found if number.side != "validation"]
    chosen = [number for number in found if number.side == "validation"]
    parts = [_table(tests, others)] if tests else ["Not measured on any test patients."]
    parts += ["\n".join(f"- {remark}" for remark in remarks)] if remarks else []
    if chosen:
        parts += ["The checkpoint was chosen by these, so they flatter it:", _table(chosen, {})]
    return "\n\n".join(parts)


def _table(found: list[Number], others: Mapping[tuple, Number]) -> str:
    beside = any(key_of(number) in others for number in found)
    head = ["data", "side", "what", "value", "of"] + (["control"] if beside else [])
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for number in found:
        cells = [number.data, number.side, number.name, number.shown, "" if number.n is None else str(number.n)]
        if beside:
            other = others.get(key_of(number))
            cells.append(other.shown if other else NOT_MEASURED)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
