"""Splits of a data set in which like images stay together and classes are spread evenly."""
