"""How the zips are made. A regular package, so that a library of the same name can not be imported in its place."""
