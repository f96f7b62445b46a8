"""What the HTTP servers share: `photochrom web` and `photochrom study serve`."""
