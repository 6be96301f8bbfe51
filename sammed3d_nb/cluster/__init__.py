"""Many cases on many machines, by Dask."""
