"""Migration from OpenMMLab: an RTMDet config becomes a recipe and a data set. No config is executed."""

from aerostat.migration.data import read_data as read_data
from aerostat.migration.migrate import Migration as Migration
from aerostat.migration.migrate import migrate as migrate
