"""The command line of recon-engine: options in, one library call, one rendering."""

import gc


# What imports make stays: to look for garbage among it costs a tenth of the start.
gc.set_threshold(50_000)
