"""The command line of both packages: options become keyword arguments of the library, and nothing else happens here."""
