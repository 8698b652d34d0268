"""Jobs over inputs of any size: their parts merge in any order to the same bits."""
