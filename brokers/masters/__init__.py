"""Parts of instruments' masters: lines, decimals and names of indices."""
