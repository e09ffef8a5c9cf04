"""The flows of the past, by day: Parquet files below a directory, and a history in memory."""
