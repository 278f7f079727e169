"""What competition is this? Files in, the mapping of a competition's YAML out, with a reason for every decision.

In order: what is to be handed in (`sample`), which pictures are which (`pictures`), where their labels are (`labels`),
what is to be predicted (`targets`), by which words (`words`), in what format, by which metric (`submission`)."""

from kit.data.pixel_tables import num_pixels
from kit.describe.bags import find_samples
from kit.describe.beside import propose_columns
from kit.describe.case import Case
from kit.describe.containers import idx_files, pixel_tables
from kit.describe.entry import Inventory
from kit.describe.inventory import IDX
from kit.describe.labels import find_labels
from kit.describe.names import is_beside
from kit.describe.pictures import leave_out_beside, picture_roles
from kit.describe.sample import read_sample
from kit.describe.stacks import gather_files
from kit.describe.submission import describe_submission
from kit.describe.words import rename_classes
from kit.errors import KitError, examples


def describe_files(inventory: Inventory, case: Case) -> Inventory:
    """files, labels, task, metric and submission of a competition, into `case.raw`; returns the inventory with a name
    per sample. Raises `KitError` where nothing fits, `ConfigError` where the metric does not, or where a question is
    open and nobody can be asked."""
    inventory = gather_files(leave_out_beside(inventory, case), case)
    entries = inventory.entries
    read_sample(inventory, case)
    find_samples(inventory, case)
    pixels = [e for e in entries if e.is_table and e.role not in case.used and num_pixels(e.head()) > 3]
    idx = [entry for entry in entries if any(mark in entry.name for mark in IDX)]
    names: list[str] = []
    if any(entry.pictures for entry in entries):
        pictures = picture_roles(inventory, case)
        find_labels(pictures, inventory, case)
        names = pictures.named
    elif pixels:
        pixel_tables(pixels, case)
    elif idx:
        idx_files(idx, case)
    else:
        raise KitError(f"no pictures; found {examples(entry.name for entry in entries)}{inventory.also()}")
    rename_classes(inventory, names, case)
    describe_submission(case)
    if case.raw["labels"]["layout"] == "csv":
        propose_columns(case)
    rest = [entry.name for entry in entries if entry.role not in case.used and not is_beside(entry.name)]
    if rest:
        case.because(f"not used: {examples(rest, 6)}")
    if inventory.unseen:
        case.because(f"not understood: {examples(inventory.unseen, 6)}")
    return inventory
