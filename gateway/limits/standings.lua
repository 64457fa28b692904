#!lua flags=no-writes
-- How limits stand, taking nothing.
--
-- KEYS: 1 clock  2.. one per limit
-- ARGV: 1 now (0 = Redis TIME)  then per limit: kind  width  count
-- Returns now, then what each limit has in use

local now = math.max(present(ARGV[1]), tonumber(redis.call('GET', KEYS[1]) or '0'))
local answer = {now}
for i = 2, #KEYS do
  local a, used = 3 * i - 4, 0
  local kind, width, count = ARGV[a], ARGV[a + 1], ARGV[a + 2]
  if kind == 'w' then
    used = window(KEYS[i], tonumber(width), tonumber(count), now).sum
  elseif kind == 'p' then
    local at = text((period(width, now)))
    local got = redis.call('HMGET', KEYS[i], 's' .. at, 'r' .. at)
    used = tonumber(got[1] or '0') + tonumber(got[2] or '0')
  else
    used = redis.call('ZCOUNT', KEYS[i], '(' .. text(now), '+inf')
  end
  answer[i] = used
end
return answer
