"""The report as one HTML page: report.html needs no network and no other file, and opens from a folder.

- Charts are the altair charts that are the PNGs beside report.md, drawn by Vega's SVG renderer out of the wheel of
  `vl-convert-python`: text stays text and colours are CSS variables, so a theme or a printer restyles charts without
  drawing them again, and its expression interpreter needs no `eval`, so the page's security policy forbids it.
- What a model or a judge wrote is a text node here (Jinja2 with autoescaping) and in the scripts, never HTML.
- Tables are sorted in place by `assets/tables.js` after the sortable table of the W3C's ARIA Authoring Practices; the
  ready-made one with a PyPI package, DataTables in `itables`, adds 900 kB of script.
- The scores of all responses and the texts of some stand in gzipped blobs, one per model and benchmark, that the page
  opens when they are asked for; it says how many texts it leaves out.

The same summary, runs and library versions give the same bytes.
"""

from cpt_tasks.report.page.build import PAGE, Part, SectionView, build_page

__all__ = ["PAGE", "Part", "SectionView", "build_page"]
