"""Records and published results side by side, with what chance explains: tables, page, figures."""
