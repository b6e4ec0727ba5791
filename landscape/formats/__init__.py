"""Results for other people's tools, and what other people have for ours.

Each writer takes `Results` and a path, writes one file, and returns lines on what the format could not hold. Where a
surface becomes a relief, x and y are the coordinates of the plane and the height is log10 of the loss unless told
otherwise. Files of strangers are read by `landscape.formats.checked`, which follows no link out of them.
"""
