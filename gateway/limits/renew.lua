#!lua flags=allow-oom
-- Extend the leases of reservations that share their concurrency limits, and note what each has
-- used so far, which is what it is charged should its holder die.
--
-- KEYS: 1 reservations (hash)  2 their leases (zset)  3 clock  4.. concurrency limits (zset)
-- ARGV: 1 now (0 = Redis TIME)  2 lease ms  3 whether a lapsed lease may be taken again (0 | 1)
--       4 the epoch that the caller knows, or 0  5.. the amount of each limit, then id and tokens,cost
-- Returns {1, now, reset, epoch, state…}, per id: 1 renewed, 0 lost: its holder must stop,
--             2 taken again, 3 lapsed, and the place is taken: its holder overlaps another
--         {5, …}  the caller knows of other data than these

local lease, again = tonumber(ARGV[2]), ARGV[3] == '1'
local shard = clock(KEYS[3], KEYS[2], ARGV[1], lease)
if ARGV[4] ~= '0' and ARGV[4] ~= shard.epoch then return answer(5, shard) end
local now, ends, limits = shard.now, text(shard.now + lease), #KEYS - 3

local function extend(id)
  redis.call('ZADD', KEYS[2], ends, id)
  for i = 4, #KEYS do
    redis.call('ZADD', KEYS[i], ends, id)
    redis.call('PEXPIRE', KEYS[i], text(lease + IDLE))
  end
end

local function has_room()
  for i = 4, #KEYS do
    redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', text(now))
    if redis.call('ZCARD', KEYS[i]) >= tonumber(ARGV[i + 1]) then return false end
  end
  return true
end

local function note(id, used)
  local stored = used ~= '0,0' and redis.call('HGET', KEYS[1], id)
  if stored then
    redis.call('HSET', KEYS[1], id, used .. string.match(stored, '^%d+,%d+(.*)$'))
  end
end

local states = {}
for a = 5 + limits, #ARGV, 2 do
  local id, state = ARGV[a], 0
  local stored = redis.call('ZSCORE', KEYS[2], id)
  if stored and tonumber(stored) > now then state = 1
  elseif again then state = has_room() and 2 or 3 end
  if state == 1 or state == 2 then
    extend(id)
    note(id, ARGV[a + 1])
  end
  states[#states + 1] = state
end
return answer(1, shard, unpack(states))
