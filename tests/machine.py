"""Where the tests compute: on the accelerator where there is one, so that the first machine with a GPU runs all of them
on it."""

from kit.device.accelerator import default_device

DEVICE = default_device()
ROUNDING = 1e-5 if DEVICE.type == "cpu" else 2e-3  # of fp32 against the CPU's: a GPU computes in TF32
