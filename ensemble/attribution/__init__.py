"""What blocks are worth, alone, in pairs and in every company."""
