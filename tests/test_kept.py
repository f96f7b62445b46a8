"""The table of what is kept, by format, in docs/reliability.md."""

from pathlib import Path

from support import kept


def test_the_documented_table_is_what_colorizing_keeps(tmp_path: Path, tiny_onnx: Path):
    cells = kept.find_kept(tmp_path, tiny_onnx)
    silent = {key: cell for key, cell in cells.items() if "SILENT" in cell}
    assert silent == {}
    # After a change: python tests/support/kept.py
    assert kept.make_table(cells) == kept.documented_table()
