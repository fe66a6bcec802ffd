"""The report of an analysed run: figures, captions and one HTML page."""
