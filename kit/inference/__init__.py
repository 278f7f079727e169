"""How a network predicts: views and their mean."""
