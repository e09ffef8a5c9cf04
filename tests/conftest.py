"""How the properties run here: the same examples every time, and no clock in the verdict."""

from hypothesis import settings

settings.register_profile("netpersona", deadline=None, derandomize=True)
settings.load_profile("netpersona")
