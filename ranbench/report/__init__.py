"""Records -> tables, pictures and a page. Reads values only: no database, no torch, no terminal.

Building (``tables``), laying out (``layout``) and rendering (``markdown``, the templates) are apart, so that a further
format is one more renderer.
"""

from ranbench.report.layout import MARKS, member_words
from ranbench.report.pages import report
from ranbench.report.tables import tables, verdict_row
from ranbench.report.values import Tables, VerdictRow

__all__ = ["MARKS", "Tables", "VerdictRow", "member_words", "report", "tables", "verdict_row"]
