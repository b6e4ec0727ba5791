"""Path lesions: what a residual network measures when its blocks are deleted or rearranged."""
