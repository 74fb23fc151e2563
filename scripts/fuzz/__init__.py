"""Random inputs for every function that reads an untrusted file.

`python -m scripts.fuzz` changes small good files in ways that break parsers - bytes flipped, cut and spliced,
JSON nested deeply and numbers made huge, pickles with instructions put in, headers that lie - and hands each
to the code that a user's file meets. What may come out is a result or one of the project's own errors, within
`limits.SECONDS` and `limits.memory`, and without a file, a process or a connection beside the input.
"""
