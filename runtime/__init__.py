"""What every run needs whatever it computes: config, run folder, checkpoints, metrics, images, devices."""
