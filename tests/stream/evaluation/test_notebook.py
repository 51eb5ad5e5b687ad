"""The notebook in `docs/` runs from top to bottom, and was saved with its outputs."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[3] / "docs" / "notebook.ipynb"


@pytest.mark.slow
@pytest.mark.unmeasured
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_the_notebook_runs(tmp_path):
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=280, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    printed = "".join(output.get("text", "") + str(output.get("data", {}).get("text/html", "")) for output in outputs)
    assert "blend - " in printed
    assert "position in the session" in printed
    assert "blend + favourite aisles" in printed
    assert "what it adds" in printed


def test_the_notebook_was_executed_before_it_was_saved():
    cells = [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in cells)
    assert not [output for cell in cells for output in cell.outputs if output.output_type == "error"]
