"""The command line of recon-engine: options in, one library call, one rendering."""
