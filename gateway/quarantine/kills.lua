#!lua
-- What a tenant's requests have killed.
--
-- KEYS: 1 kills (zset): <fingerprint>:<backend>, by when it was last seen (ms)
-- ARGV: 1 look | add | acquit   2 now (0 = Redis TIME)   3 window ms   4 fingerprint   5 backend
--       6 kills of a tenant at most
-- Returns how many backends such a request has killed.

local key, what, window, of = KEYS[1], ARGV[1], tonumber(ARGV[3]), ARGV[4] .. ':'
local now = tonumber(ARGV[2])
if now == 0 then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local over = string.format('%.0f', now - window)
if what == 'add' then
  redis.call('ZADD', key, string.format('%.0f', now), of .. ARGV[5])
  redis.call('ZREMRANGEBYRANK', key, 0, -1 - tonumber(ARGV[6]))
  redis.call('PEXPIRE', key, ARGV[3])
end
redis.call('ZREMRANGEBYSCORE', key, '-inf', over)
local count = 0
for _, kill in ipairs(redis.call('ZRANGE', key, 0, -1)) do
  if string.sub(kill, 1, #of) == of then
    if what == 'acquit' then redis.call('ZREM', key, kill) else count = count + 1 end
  end
end
return count
