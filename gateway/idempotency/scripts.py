"""
The Lua scripts of the shelf. Each takes one entry:

    r <digest of the body> <owner>     it runs
    k <digest of the body> <answer>    answered
    g <digest of the body>             answered, and the answer is gone

without the spaces; the digest is 64 characters. Entries end by themselves. What is small is
written even where Redis is out of memory, so that a key is never run twice for want of it.
"""

from ..redis import Script

OURS, OTHER_BODY = b"o", b"x"
RUNS, KEPT, GONE = b"r", b"k", b"g"

# ARGV: 1 digest of the body, 2 owner, 3 lease (ms)
CLAIM = Script("""#!lua flags=allow-oom
local found = redis.call('GET', KEYS[1])
local ours = 'r' .. ARGV[1] .. ARGV[2]
if not found or found == ours then
  redis.call('SET', KEYS[1], ours, 'PX', ARGV[3])
  return 'o'
end
if string.sub(found, 2, 65) ~= ARGV[1] then return 'x' end
local state = string.sub(found, 1, 1)
if state == 'k' then return state .. string.sub(found, 66) end
return state
""")

_PUT = """
local found = redis.call('GET', KEYS[1])
if found and found ~= 'r' .. ARGV[1] .. ARGV[2] then return 0 end
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
return 1
"""

# Writes over what is the owner's, or nobody's; 0 if it is another's.
# ARGV: 1 digest of the body, 2 owner, 3 new entry, 4 its life (ms)
KEEP = Script("#!lua" + _PUT)
MARK = Script("#!lua flags=allow-oom" + _PUT)

# ARGV: 1 digest of the body, 2 owner
FREE = Script("""#!lua flags=allow-oom
if redis.call('GET', KEYS[1]) == 'r' .. ARGV[1] .. ARGV[2] then redis.call('DEL', KEYS[1]) end
return 1
""")

# ARGV: 1 digest of the body
DROP = Script("""#!lua flags=allow-oom
local found = redis.call('GET', KEYS[1])
if found and string.sub(found, 1, 65) == 'k' .. ARGV[1] then
  redis.call('SET', KEYS[1], 'g' .. ARGV[1], 'KEEPTTL')
end
return 1
""")
