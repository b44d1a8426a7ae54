"""Records, published results, and the page that puts them side by side."""
