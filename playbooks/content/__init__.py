"""What messages say: contents in Liquid, worded for channels and languages, made of blocks; pure."""
