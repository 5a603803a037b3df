"""Parts of the admin's lists: cells, filters, states and tables of millions of rows."""
