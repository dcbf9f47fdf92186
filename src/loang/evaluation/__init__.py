"""Samples against real images: what is measured, the table, the report."""
