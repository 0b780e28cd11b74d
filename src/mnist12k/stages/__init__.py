"""One module a DVC stage: read params, call the library, write that stage's files."""
