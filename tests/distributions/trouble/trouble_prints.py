import os

print('["ended", "a job", 0]')
os.write(1, b'["ready"]\n["started", "a job", 1]\n{"torn')
