"""What others know: indicators from feeds, merged into one vectorised set, and the reputation that follows."""
