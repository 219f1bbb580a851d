"""The notebook runs from its first cell to its last. QUICKSTART_PICTURE=FILE keeps its picture, as the documentation shows it."""

from __future__ import annotations

import base64
import io
import os

import pytest
from conftest import REPOSITORY
from PIL import Image


def test_the_quickstart():
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    path = REPOSITORY / "examples" / "quickstart.ipynb"
    notebook = nbformat.read(path, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "it is kept without outputs"
    resources = {"metadata": {"path": str(path.parent)}}
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3", resources=resources).execute()
    outputs = [output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", [])]
    one, sheet = [Image.open(io.BytesIO(base64.b64decode(data["image/png"]))) for data in outputs if "image/png" in data]
    assert one.size == (168, 208) and sheet.size == (1008, 672)
    if picture := os.environ.get("QUICKSTART_PICTURE"):
        sheet.convert("RGB").save(picture, quality=88)
