"""What a data source finds: one image, its class by name, and what is known of it."""

from dataclasses import dataclass

from zdd.records import Split


@dataclass(frozen=True, slots=True)
class Found:
    """One image of a data set before its classes have been put in order."""

    path: str
    class_name: str
    group: str = ""  # serial number of the part: pictures of one part never straddle two splits
    split: Split | None = None  # where the data set itself puts it
    mask: str = ""
    parent: str = ""  # the images that a synthetic one was made from, as zdd.data.parents reads them
    value: int | None = None  # the pixel value of its class in the mask; None: every pixel that is not black is of it
