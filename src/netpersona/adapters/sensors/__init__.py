"""What saw traffic: one module for each format, and recognise, which tells them apart by content."""
