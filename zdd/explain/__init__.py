"""Where a network looks: one explainer a file, each exporting `attribute`; and how far it can be trusted."""
