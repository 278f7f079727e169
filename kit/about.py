"""What messages and files call the kit itself."""

VERSION = "0.1.0"
DEFAULT_CONFIG = "configs/dogs-vs-cats.yaml"  # of a command that names none
