#!lua flags=no-writes
-- How limits stand, taking nothing.
--
-- KEYS: 1 clock  2.. one per limit
-- ARGV: 1 now (0 = Redis TIME)  2 whether there is a ledger to ask (0 | 1)
--       then per limit: kind  width  count
-- Returns now, then what each limit has in use; -1 - what is reserved where the ledger must be
-- asked for what is settled

local got = redis.call('HMGET', KEYS[1], 'now', 'since')
local now, last = present(ARGV[1]), tonumber(got[1] or '0')
if last <= now + SKEW then now = math.max(now, last) end
local shard = {now = now, since = tonumber(got[2] or text(now))}
local seeds, used, look = ARGV[2] == '1' and {} or nil, {}, {}

function look.w(key, _, width, count)
  return window(key, tonumber(width), tonumber(count), now).sum
end

function look.p(key, i, unit)
  local p = counted(key, i, unit, shard, seeds)
  return p.unseeded and -1 - p.reserved or p.settled + p.reserved
end

function look.c(key) return redis.call('ZCOUNT', key, '(' .. text(now), '+inf') end

for i = 1, #KEYS - 1 do
  used[i] = look[ARGV[3 * i]](KEYS[i + 1], i, ARGV[3 * i + 1], ARGV[3 * i + 2])
end
return {now, unpack(used)}
