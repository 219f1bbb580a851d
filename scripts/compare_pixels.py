"""How pictures are read, held against tifffile, and against rasterio and Pillow where they can: 200 TIFFs of all layouts, types and compressions, made here.

    pip install numpy pillow tifffile imagecodecs rasterio
    python scripts/compare_pixels.py [--program "cargo run --release --example decoded --"]

Prints one line for each kind of file: how many, the largest mean difference of 255 after the same range, and how many were
refused. Ends with 1 if a mean difference is above 0.5 or a file is refused.
"""

import argparse
import itertools
import shlex
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

import numpy
import tifffile
from PIL import Image

try:
    import rasterio
except ImportError:
    rasterio = None

TYPES = ["uint8", "uint16", "int16", "uint32", "float16", "float32", "float64"]
COMPRESSIONS = [None, "lzw", "zlib", "packbits"]
SHAPES = [(37, 53), (64, 64), (120, 90)]


def scene(random, height, width, bands, type_name):
    """Smooth colours with an edge and a little noise, in the range that the type is mostly used with."""
    y, x = numpy.mgrid[0:height, 0:width]
    picture = numpy.stack([
        0.5 + 0.3 * numpy.sin(x / (5 + 2 * band) + y / 11) + 0.15 * (x + y > (height + width) / 2)
        for band in range(bands)
    ], axis=-1)
    picture = numpy.clip(picture + 0.02 * random.standard_normal(picture.shape), 0, 1)
    scale = {"uint8": 255, "uint16": 4095, "int16": 2000, "uint32": 100_000}.get(type_name)
    if scale is None:
        return picture.astype(type_name)
    return (picture * scale).round().astype(type_name)


def write(folder, count):
    """`count` files, and of each its samples as [height, width, bands]."""
    random = numpy.random.default_rng(0)
    choices = list(itertools.product(
        TYPES, COMPRESSIONS, [1, 3, 4, 6], ["strips", "rows", "tiles"], ["contig", "separate"], ["<", ">"], [False, True]
    ))
    random.shuffle(choices)
    written = {}
    for type_name, compression, bands, layout, planar, order, big in choices:
        if len(written) == count:
            break
        type_name, bands, big = str(type_name), int(bands), bool(big)
        compression = None if compression in (None, "None") else str(compression)
        height, width = SHAPES[len(written) % len(SHAPES)]
        samples = scene(random, height, width, bands, type_name)
        data = samples[..., 0] if bands == 1 else samples
        if planar == "separate" and bands > 1:
            data = numpy.moveaxis(samples, -1, 0)
        settings = {"photometric": "rgb" if bands in (3, 4) else "minisblack"}
        if bands > 1:
            settings["planarconfig"] = str(planar)
        if bands > 4 or bands == 4:
            settings["extrasamples"] = ["unspecified"] * (bands - (3 if bands == 4 else 1))
        if layout == "tiles":
            settings["tile"] = (32, 16)
        elif layout == "rows":
            settings["rowsperstrip"] = 7
        if compression:
            settings["compression"] = compression
            # Differences need a type for which the writer has them.
            if compression != "packbits" and type_name != "float16" and len(written) % 2:
                settings["predictor"] = 3 if type_name.startswith("float") else 2
        name = f"{len(written):03}_{type_name}_{compression}_{bands}_{layout}_{planar}_{'be' if order == '>' else 'le'}{'_big' if big else ''}.tif"
        try:
            with tifffile.TiffWriter(folder / name, bigtiff=big, byteorder=str(order)) as writer:
                writer.write(data, **settings)
        except (ValueError, NotImplementedError, TypeError):
            continue
        written[name] = samples
    return written


def others_agree(path, samples, agreeing):
    """Counts which other readers find the same samples in a file; those that cannot read it are passed over."""
    readers = {"Pillow": lambda: numpy.asarray(Image.open(path))}
    if rasterio is not None:
        def by_rasterio():
            with rasterio.open(path) as file:
                return numpy.moveaxis(file.read(), 0, -1)
        readers["rasterio"] = by_rasterio
    for name, read in readers.items():
        try:
            found = read()
        except Exception:
            found = None
        # Pillow makes 8 bits of colours of 16.
        if found is None or found.dtype.itemsize < samples.dtype.itemsize:
            agreeing[name, "does not read it as it is"] += 1
            continue
        same = found.size == samples.size and numpy.array_equal(found.reshape(samples.shape), samples)
        if not same:
            print(f"{name} finds other samples in {path.name}")
        agreeing[name, "agrees" if same else "differs"] += 1


def shown(samples, low, high):
    """The first three bands in eight bits."""
    bands = samples[..., :3] if samples.shape[-1] >= 3 else samples[..., :1].repeat(3, axis=-1)
    return numpy.clip((bands.astype("float64") - low) / (high - low) * 255, 0, 255).round()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--program", default="cargo run --release --example decoded --")
    parser.add_argument("--count", type=int, default=200)
    arguments = parser.parse_args()
    kinds, agreeing = defaultdict(list), Counter()
    failed = False
    with tempfile.TemporaryDirectory() as place:
        place = Path(place)
        made = place / "made"
        made.mkdir()
        for name, samples in write(made, arguments.count).items():
            # What another reader finds in the file.
            found = tifffile.imread(made / name)
            if found.ndim == 3 and found.shape[0] == samples.shape[-1] and found.shape[1:] == samples.shape[:2]:
                found = numpy.moveaxis(found, 0, -1)
            assert numpy.array_equal(found.reshape(samples.shape), samples), name
            others_agree(made / name, samples, agreeing)
            kinds[name.split("_")[1]].append((name, found.reshape(samples.shape)))
        for kind, files in kinds.items():
            low, high = {"uint8": (0, 255), "uint16": (0, 4095), "int16": (0, 2000), "uint32": (0, 100_000)}.get(kind, (0, 1))
            sources, target = place / f"{kind}_in", place / f"{kind}_out"
            sources.mkdir()
            for name, _ in files:
                (made / name).rename(sources / name)
            run = [*shlex.split(arguments.program), str(sources), str(target), f"pixels.range={low}..{high}", "pixels.nodata=none"]
            lines = subprocess.run(run, check=True, capture_output=True, text=True).stdout.splitlines()
            refused = [line for line in lines if "\tnot read: " in line]
            differences = [
                numpy.abs(numpy.asarray(Image.open(target / f"{name}.png"), "float64") - shown(samples, low, high)).mean()
                for name, samples in files
                if (target / f"{name}.png").exists()
            ]
            most = max(differences, default=0)
            failed |= bool(refused) or most > 0.5
            print(f"{kind:8} {len(files):4} files, mean difference at most {most:.4f} of 255, {len(refused)} refused")
            for line in refused:
                print("   ", line)
    for (reader, verdict), count in sorted(agreeing.items()):
        print(f"{reader} {verdict}: {count}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
