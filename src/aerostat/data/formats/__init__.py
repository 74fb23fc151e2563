"""One module per annotation format, each reading into and writing from `aerostat.data.dataset`."""
