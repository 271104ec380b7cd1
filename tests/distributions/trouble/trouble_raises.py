raise RuntimeError("this library can't be imported")
