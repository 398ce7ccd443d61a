"""DINO on cardiac MR: views, head, loss, teacher, schedules, probes. `training/pretrain.py` puts them together."""
