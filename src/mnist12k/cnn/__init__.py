"""The network, augmentation, schedules, fit(), evaluate()."""
