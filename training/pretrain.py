"""Pretrains a CMR backbone with DINO on unlabelled images.

    accelerate launch training/pretrain.py --config training/configs/pretrain_vits8.yaml
    accelerate launch training/pretrain.py --config training/configs/pretrain_vit_tiny_cpu.yaml \\
        max_steps=100 output_dir=runs/try

The keys of the YAML file are the fields of `cmr_hf.pretraining.arguments.PretrainArguments`; `key=value` on the
command line overrides the file. Run it again with the same `output_dir`, on any number of processes, and it goes on
from the last checkpoint. `training/README.md` tells of several GPUs and machines.
"""

import argparse
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

import torch
import yaml
from accelerate import Accelerator
from accelerate.utils import set_seed
from tqdm.auto import tqdm
from transformers import HfArgumentParser

from cmr_hf.pretraining.alarms import CollapseAlarm, StopSignal, check_finite, feature_rank
from cmr_hf.pretraining.arguments import PretrainArguments
from cmr_hf.pretraining.attention import save_attention_maps
from cmr_hf.pretraining.building import (
    build_optimizer,
    build_student,
    count_images,
    open_streams,
    prepare,
    set_rates,
    shard_on_cpus,
)
from cmr_hf.pretraining.checkpoints import last_checkpoint, load_checkpoint, read_record, save_checkpoint
from cmr_hf.pretraining.loss import DINOLoss
from cmr_hf.pretraining.probing import ProbeSet, ProbeSettings, probe_backbone
from cmr_hf.pretraining.randomness import step_seed
from cmr_hf.pretraining.release import is_release, load_release, save_release
from cmr_hf.pretraining.run_log import RunLog
from cmr_hf.pretraining.schedules import Schedules, scaled_out_dim, scaled_schedules
from cmr_hf.pretraining.speed import Meter, flops_per_image, peak_flops
from cmr_hf.pretraining.teacher import clip_each, freeze, last_layer_of, make_teacher, update_teacher
from cmr_hf.pretraining.views import MultiCrop


def parse() -> PretrainArguments:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True, type=Path)
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    options = parser.parse_args()
    values = yaml.safe_load(options.config.read_text(encoding="utf-8"))
    for override in options.overrides:
        key, _, value = override.partition("=")
        values[key] = yaml.safe_load(value)
    return HfArgumentParser(PretrainArguments).parse_dict(values)[0]


def main() -> None:
    args = parse()
    if args.threads:
        torch.set_num_threads(args.threads)
    folder = Path(args.output_dir)
    log_with = None if args.trackers == "none" else args.trackers
    accelerator = Accelerator(
        cpu=not torch.accelerator.is_available(),
        mixed_precision=args.mixed_precision,
        log_with=log_with,
        project_dir=folder,
    )
    shard_on_cpus(accelerator)
    set_seed(args.seed, deterministic=args.deterministic)
    stop = StopSignal()
    micro_batch, micro_steps = args.split_batch(accelerator.num_processes)
    batch_size = accelerator.num_processes * micro_batch * micro_steps  # batch_size of the arguments, or next to it

    # ---- how long, how fast, how wide: from the checkpoint if there is one, else from the data size
    images = count_images(args)
    checkpoint = last_checkpoint(folder)
    total_steps = args.max_steps or max(1, round(args.epochs * images / batch_size))
    schedules = scaled_schedules(images, batch_size, total_steps, **args.schedules)
    if checkpoint:
        saved = Schedules.from_dict(read_record(checkpoint)["schedules"])
        if saved != schedules:
            accelerator.print("the schedules are those saved with the run, not those of the arguments")
        schedules = saved
    out_dim = args.out_dim or scaled_out_dim(images)

    # ---- student, teacher, loss, optimiser, data
    student = build_student(args, out_dim)
    teacher = make_teacher(student)
    criterion = DINOLoss(out_dim, args.student_temperature, args.centre_momentum).to(accelerator.device)
    config, views = student.backbone.config, args.view_settings
    if args.compile:
        student.compile()
        teacher.compile()
    student, teacher, optimizer = prepare(accelerator, student, teacher, build_optimizer(student))
    last_layer = last_layer_of(student)
    streams = open_streams(args, micro_batch, accelerator.process_index, accelerator.num_processes)
    multi_crop = MultiCrop(views, args.seed)
    start = load_checkpoint(accelerator, checkpoint, teacher, criterion, streams) if checkpoint else 0
    if not checkpoint and is_release(args.init_from) and not args.lora:
        load_release(args.init_from, accelerator.unwrap_model(student), teacher, criterion, optimizer)

    # ---- what is watched
    widths = [teacher.head.mlp[0].out_features, teacher.head.mlp[-1].out_features]
    flops = flops_per_image(config, views, out_dim, *widths)
    peak, denominator = peak_flops(accelerator.device)
    meter = Meter(flops, peak * accelerator.num_processes, schedules.total_steps * batch_size)
    probe = ProbeSet(ProbeSettings(**args.probe)) if args.probe else None
    log = RunLog(folder, start, accelerator.is_main_process)
    alarm = CollapseAlarm(criterion.highest_entropy)
    if log_with:
        accelerator.init_trackers("pretrain", config={"batch_size": batch_size, "out_dim": out_dim})
    trainable = sum(p.numel() for p in student.parameters() if p.requires_grad)
    accelerator.print(
        f"{trainable / 1e6:.2f} M trainable parameters, {out_dim} outputs, {images} images, {schedules.total_steps} "
        f"steps of {batch_size} = {accelerator.num_processes} processes x {micro_batch} x {micro_steps}; "
        f"{flops / 1e9:.1f} GFLOP an image, peak {peak / 1e12:.2f} TFLOP/s ({denominator})"
    )

    bar = tqdm(
        total=schedules.total_steps,
        initial=start,
        disable=not (args.progress and accelerator.is_main_process),
        unit="step",
        dynamic_ncols=True,
    )
    done, values, stopped, crops = start, {}, False, None

    for step in range(start, schedules.total_steps):
        now = schedules.at(step)
        torch.manual_seed(step_seed(args.seed, step, accelerator.process_index))  # of stochastic depth
        set_rates(optimizer, now["learning_rate"], now["weight_decay"])
        for micro in range(micro_steps):
            batch = next(streams)
            images = batch["image"].to(accelerator.device)
            crops = multi_crop(images, batch["extent"], batch["key"], step, out=crops)
            with torch.no_grad(), accelerator.autocast():
                targets, features = teacher(crops[:1])
            last = micro == micro_steps - 1
            with nullcontext() if last else accelerator.no_sync(student):
                outputs, _ = student(crops)
                loss, watched = criterion(outputs, targets, micro_batch, now["teacher_temperature"])
                check_finite("loss", loss, batch, step, folder)
                accelerator.backward(loss / micro_steps)
        if step < schedules.frozen_steps:
            freeze(last_layer)
        norm = clip_each(student.parameters(), args.clip_gradient)
        check_finite("gradient", norm, batch, step, folder)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        update_teacher(teacher, student, now["teacher_momentum"])
        criterion.update_centre(lambda mean: accelerator.reduce(mean, "mean"))
        meter.add(batch_size)
        bar.update()

        done = step + 1
        if done % args.log_every == 0 or done == schedules.total_steps:
            watched |= {"loss": loss.detach(), "gradient_norm": norm, "feature_rank": feature_rank(features)}
            values = {name: accelerator.reduce(value, "mean").item() for name, value in watched.items()}
            values |= meter.read(done * batch_size) | now
            if probe and (done % probe.settings.every < args.log_every or done == schedules.total_steps):
                if accelerator.is_fsdp2:
                    teacher.unshard()  # the backbone is used by itself; the next update cuts it again
                values |= probe_backbone(teacher.backbone, probe)
                save_attention_maps(teacher.backbone, probe.images, probe.extents, folder / "attention", done)
                meter.restart()
            accelerator.log(values, step=done)
            bar.set_postfix_str(
                f"loss {values['loss']:.3f}, entropy {values['teacher_entropy']:.2f}, kl {values['kl']:.3f}, rank "
                f"{values['feature_rank']:.1f}, {values['images_per_second']:.1f} images/s, MFU {values['mfu']:.1%}, "
                f"{values['hours_left']:.2f} h left"
            )
            log.write(done, values)
            if alarm.look(values, done) and args.stop_on_collapse:
                break
        stopped = stop.anywhere(accelerator.device)
        if stopped or done % args.save_every == 0 or done == schedules.total_steps:
            keep = {"keep": args.keep_checkpoints, "keep_backbones": args.keep_backbones}
            save_checkpoint(accelerator, folder, done, teacher, criterion, streams, schedules, **keep)
        if stopped:
            accelerator.print(f"stopped by SIGTERM after step {done}: run it again to go on")
            break
    bar.close()
    if not stopped:
        record = {"step": done, "arguments": asdict(args), "schedules": schedules.to_dict(), "measured": values}
        plain = accelerator.unwrap_model(student)
        save_release(accelerator, folder / "release", plain, teacher, criterion, optimizer, record)
    accelerator.end_training()


if __name__ == "__main__":
    main()
