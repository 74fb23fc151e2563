"""Several processes that do one piece of work, on one machine or on many."""
