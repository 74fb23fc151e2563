"""Configs and work directories of OpenMMLab (MMEngine, MMDetection 3, MMYOLO), parsed and never executed."""

from aerostat.openmmlab.config import Config as Config
from aerostat.openmmlab.config import read_config as read_config
from aerostat.openmmlab.work_dir import WorkDir as WorkDir
from aerostat.openmmlab.work_dir import find_work_dir as find_work_dir
