#!lua flags=allow-oom
-- Extend the leases of reservations that share their concurrency limits.
--
-- KEYS: 1 leases (zset)  2 clock  3.. concurrency limits (zset)
-- ARGV: 1 now (0 = Redis TIME)  2 lease ms  3 whether a lapsed lease may be taken again (0 | 1)
--       4.. the amount of each limit, then ids
-- Returns reset, then per id: 1 renewed, 0 lost: its holder must stop, 2 taken again,
--         3 lapsed, and the place is taken: its holder overlaps another

local lease, again = tonumber(ARGV[2]), ARGV[3] == '1'
local now, reset = clock(KEYS[2], KEYS[1], ARGV[1], lease)
local ends, limits = text(now + lease), #KEYS - 2

local function extend(id)
  redis.call('ZADD', KEYS[1], ends, id)
  for i = 3, #KEYS do
    redis.call('ZADD', KEYS[i], ends, id)
    redis.call('PEXPIRE', KEYS[i], text(lease + IDLE))
  end
end

local function has_room()
  for i = 3, #KEYS do
    redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', text(now))
    if redis.call('ZCARD', KEYS[i]) >= tonumber(ARGV[i + 1]) then return false end
  end
  return true
end

local answer = {reset}
for i = 4 + limits, #ARGV do
  local id, state = ARGV[i], 0
  local stored = redis.call('ZSCORE', KEYS[1], id)
  if stored and tonumber(stored) > now then state = 1
  elseif again then state = has_room() and 2 or 3 end
  if state == 1 or state == 2 then extend(id) end
  answer[#answer + 1] = state
end
return answer
