#!lua flags=no-writes
-- Find reservations whose lease has ended, for the caller to expire with their own keys.
--
-- KEYS: 1 reservations (hash)  2 their leases (zset)  3 clock
-- ARGV: 1 now (0 = Redis TIME)  2 how many at most
-- Returns the epoch, 0 if there are no data, then id, stored reservation, id, … ('' where only a
-- lease is left)

local ids = redis.call(
  'ZRANGEBYSCORE', KEYS[2], '-inf', text(present(ARGV[1])), 'LIMIT', 0, tonumber(ARGV[2]))
local found = {tonumber(redis.call('HGET', KEYS[3], 'epoch') or '0')}
for _, id in ipairs(ids) do
  found[#found + 1] = id
  found[#found + 1] = redis.call('HGET', KEYS[1], id) or ''
end
return found
