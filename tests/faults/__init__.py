"""The fault campaign: what happens when a machine dies, a disk fills or a file is damaged."""
