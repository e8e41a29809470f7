"""Pictures and faces: reading, detection, alignment, and data sets of people."""
