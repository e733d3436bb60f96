"""Records -> tables, pictures and pages. Reads values only: no database, no torch, no terminal.

Building (``tables``), laying out (``layout``) and rendering are apart. The words of a page and their order are written
once, in the markdown template; other formats render the document that ``composing`` reads from it.
"""

from ranbench.report.formats import FORMATS, Report, report, write
from ranbench.report.layout import MARKS, member_words
from ranbench.report.tables import tables, verdict_row
from ranbench.report.values import Tables, VerdictRow

__all__ = [
    "FORMATS",
    "MARKS",
    "Report",
    "Tables",
    "VerdictRow",
    "member_words",
    "report",
    "tables",
    "verdict_row",
    "write",
]
