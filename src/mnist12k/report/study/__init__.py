"""The backprop study as text: formulas, derivation, errata, workbook."""
