"""From `results.json` to one self-contained page, to short tables, and to a folder of all of them.

Everything here is drawn from the result rows alone: no model, no audio and no network is touched.
Every string that came from a file is hostile until escaped, which `page` and `static_svg` do.
"""

from jaxemo.report.folder import write_report_folder
from jaxemo.report.page import write_report
from jaxemo.report.tables import summary_table

__all__ = ["summary_table", "write_report", "write_report_folder"]
