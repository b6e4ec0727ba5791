"""Numbers of results: of surfaces, of lesions, of spectra, and what separates two networks. No torch."""
