"""How signatures are checked while testing: an int may stand where a float is asked for."""

from beartype import BeartypeConf, beartype

numeric = beartype(conf=BeartypeConf(is_pep484_tower=True))
