"""Two profiles -> drift statistics; pure functions of counts."""
