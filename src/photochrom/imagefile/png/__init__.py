"""PNG files: chunks, metadata and colours."""
