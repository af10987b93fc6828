"""Options of `fit` that say where, how and for how long at a time a run is done, not what it is."""

# their number decides how samples are dealt out: a remainder that they do not divide is left out
DEVICES = ("--trainer.devices", "--trainer.num_nodes")
FREE = (
    "--data.root",
    "--data.download",
    "--model.channels_last",
    "--threads",
    "--trainer.accelerator",
    *DEVICES,
    "--trainer.strategy",
    "--trainer.logger",
    "--trainer.enable_progress_bar",
    "--trainer.max_time",
)
