import sys

sys.exit("this library wants another Python")
