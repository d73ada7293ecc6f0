"""The commands of `cpt judge`: audit, calibrate, compare and pay for judges; judge texts."""
