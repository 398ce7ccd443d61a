"""Labels drawn in other tools, brought onto the package's grids and ids."""
