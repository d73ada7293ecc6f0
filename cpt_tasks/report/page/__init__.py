"""The report as one HTML page: report.html needs no network and no other file, and opens from a folder.

    cpt report LOGS... --out DIR     # writes DIR/report.html with the extra `report` installed

Libraries, and why these:

- Charts: the altair charts that are the PNGs beside report.md, drawn by Vega-Lite with Vega's SVG renderer
  (BSD-3-Clause) out of the wheel of `vl-convert-python`: one script that goes into the page, no npm, no file of it in
  this repository. It draws text as text and colours as CSS variables, so a theme or a printer restyles charts without
  drawing them again, and its expression interpreter needs no `eval`, so the page's security policy forbids it.
- Markup: Jinja2 with autoescaping. What a model or a judge wrote is a text node here and in the scripts, never HTML.
- Tables: HTML tables made here, sorted in place by `assets/tables.js` after the sortable table of the W3C's ARIA
  Authoring Practices. The ready-made one with a PyPI package, DataTables in `itables`, adds 900 kB of script.

Data: the scores of all responses and the texts of some stand in gzipped blobs, one per model and benchmark, that the
page opens when they are asked for. `budget.py` says which texts; the page says how many it leaves out. The same
summary, runs and library versions give the same bytes.
"""

from cpt_tasks.report.page.build import PAGE, build_page, write_page
from cpt_tasks.report.page.view import section_view

__all__ = ["PAGE", "build_page", "section_view", "write_page"]
