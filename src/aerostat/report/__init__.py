"""One self-contained HTML page about a run.

`page.py` turns chapters into a page. `run.py` makes those that a run's directory can tell by itself;
`complete.py` joins them with those that need the run's detector and data (`subject.py`).
"""

from aerostat.report.complete import report as report
from aerostat.report.complete import run_chapters as run_chapters
from aerostat.report.page import Card as Card
from aerostat.report.page import Chapter as Chapter
from aerostat.report.page import Figure as Figure
from aerostat.report.page import Fold as Fold
from aerostat.report.page import Table as Table
from aerostat.report.page import write_report as write_report
from aerostat.report.run import data_chapter as data_chapter
