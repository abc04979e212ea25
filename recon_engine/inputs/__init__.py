"""Read inputs: decode, scan, check against RFC 4180 and cut into blocks.

Reading order: `opening`, `decoding`, `header`, `scanner`, `csv_reader`, `csvfile`,
`blocks`; `first_rows` reads the first cells of a file, `trailers` its end, and
`trailer_sums` sums its columns; `translation` makes CSV of other syntaxes; `quarantine`
keeps rejected rows, `tables` opens files and frames alike, `rfc4180` is the slow
reference that names each fault.
`scanning` reads both files with the kernel in C (`native`), and `scanned` gives access
to what it has read. May import `runtime` and the vocabulary; never a cloud, a database
or a terminal.
"""
