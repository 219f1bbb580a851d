"""Writes zstd_*.parquet: three rows of images as Hugging Face writes them, the second without one, compressed by Zstandard.

    pip install pyarrow polars
    python tests/golden/parquet.py
"""

from pathlib import Path

import polars
import pyarrow
import pyarrow.parquet

FOLDER = Path(__file__).parent
IMAGES = [
    {"bytes": b"first " * 50, "path": "1.jpg"},
    {"bytes": None, "path": "2.jpg"},
    {"bytes": b"third " * 50, "path": "3.jpg"},
]

kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
table = pyarrow.table({"label": [0, 1, 0], "image": pyarrow.array(IMAGES, kind)})
pyarrow.parquet.write_table(table, FOLDER / "zstd_pyarrow.parquet", compression="zstd")
pyarrow.parquet.write_table(
    table, FOLDER / "zstd_pyarrow_v2.parquet", compression="zstd", data_page_version="2.0", use_dictionary=False
)
polars.from_arrow(table).write_parquet(FOLDER / "zstd_polars.parquet", compression="zstd")
