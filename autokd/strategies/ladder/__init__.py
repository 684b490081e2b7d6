"""Ladders: trained students made smaller step by step; what is worth doing next is read from the records."""
