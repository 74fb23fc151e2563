"""One self-contained HTML page about a run.

`page.py` turns chapters into a page. `run.py` makes those that a run's directory can tell by itself;
`complete.py` joins them with those that need the run's detector and data (`subject.py`).
"""

from aerostat.reporting.complete import report as report
from aerostat.reporting.complete import run_chapters as run_chapters
from aerostat.reporting.page import Card as Card
from aerostat.reporting.page import Chapter as Chapter
from aerostat.reporting.page import Figure as Figure
from aerostat.reporting.page import Fold as Fold
from aerostat.reporting.page import Table as Table
from aerostat.reporting.page import write_report as write_report
from aerostat.reporting.run import data_chapter as data_chapter
