"""Where scenes lie on the ground: outlines, areas and distances, whatever the CRSs of their images."""
