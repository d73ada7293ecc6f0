"""The commands of `cpt judge` that read eval logs: calibrate, agreement, forecast and batch."""
