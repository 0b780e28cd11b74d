"""One module per DVC stage: takes its section of params.yaml, calls the library, writes files."""
