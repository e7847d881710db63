"""Importing what was before nextplay: files read row by row, each row recorded once, starting nothing."""
