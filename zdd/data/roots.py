"""Where a data set lies, and where a known one can be had if it lies nowhere."""

from pathlib import Path

from zdd import files
from zdd.errors import ZddError

# name -> what it is called in public. data/README.md says more.
KNOWN = {
    "casting_cls": 'Kaggle, "real-life industrial dataset of casting product" (R. Dabhi), folders ok_front, def_front',
    "neu_cls": '"NEU surface defect database" (Song and Yan, Northeastern University), a folder for each kind',
    "fdm_print_cls": "FDM_Process_Image_Dataset_v1 (Kim, Lee, Ahn) in "
    "github.com/hyungjungkim/systematic-deep-transfer-learning-for-fdm-defect-detection",
    "magnetic_tile_seg": "github.com/abin24/Magnetic-tile-defect-datasets.",
    "lgp_seg": "github.com/SAP-samples/btp-ai-sustainability-bootcamp, src/ai-models/defect-detection/data",
    "mvtec_screw": "MVTec AD, category screw, mvtec.com/company/research/datasets/mvtec-ad",
    "cifar10": "cs.toronto.edu/~kriz/cifar.html, the binary version (cifar-10-binary.tar.gz)",
    "labels": "zdd draws it: zdd data labels data/labels --per-class 100 --seed 0",
}


def locate(root: str, setting: str = "dataset.root") -> Path:
    """The folder (or CSV file) of a data set: as given, in data/, in the folders of ZDD_DATA.

    Raises:
        ZddError: If it lies nowhere; the message says where it was looked for and where it can be had.
    """
    if not root.strip():
        raise ZddError(f'{setting} = "": name the folder (or CSV file) of the images')
    places = files.search_places(root, folder="data", variable="ZDD_DATA")
    for place in places:
        if place.exists():
            return place.absolute()
    looked = ", ".join(dict.fromkeys(str(place) for place in places))
    known = KNOWN.get(Path(root).name)
    hint = f"; it can be had here: {known}" if known else ""
    raise ZddError(
        f'{setting} = "{root}": there is no such folder or file; looked for {looked}{hint}; '
        "see data/README.md, or name the folders of your sets in ZDD_DATA"
    )


def source_of(root: Path) -> str:
    """The source that reads a folder (or table), told by what lies there."""
    if root.is_file():
        return "csv"
    if (root / "labels.json").is_file():
        return "labels"
    if any(root.glob("*.csv")):
        return "csv"
    there = {path.name.lower() for top in (root, root / "train") if top.is_dir() for path in top.iterdir()}
    if {"images", "masks"} <= there:
        return "masks"
    if {"ok", "ng"} <= there and "ng_msk" in there:
        return "ok_ng"
    return "mvtec" if "ground_truth" in there else "folder"
