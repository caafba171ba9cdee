"""From `results.json` to one self-contained page and to short tables.

Everything here is drawn from the result rows alone: no model, no audio and no network is touched.
Every string that came from a file is hostile until escaped, which `page` and `svg` do.
"""

from jaxemo.report.page import write_report
from jaxemo.report.tables import headline_tables, summary_table

__all__ = ["headline_tables", "summary_table", "write_report"]
