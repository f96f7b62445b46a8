"""From a photo to a colour photo: the model, edge-aware upsampling of ab, rendering."""
