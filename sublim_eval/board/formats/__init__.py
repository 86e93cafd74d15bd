"""Files of a format -> readings: what one file says about one model. A further format is one more file here."""
