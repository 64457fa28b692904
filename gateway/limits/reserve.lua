#!lua
-- Take an amount from every limit, or nothing from any.
--
-- KEYS: 1 reservations (hash)  2 their leases (zset)  3 clock  4 marker of this id
--       5.. one per limit
-- ARGV: 1 now (0 = Redis TIME)  2 lease ms  3 id  4 tenant
--       then per limit: kind  amount  limit  least  width  count  name
--         w  sliding window    width = ms per bucket, count = buckets
--         p  calendar period   width = day | month
--         c  concurrency       held until settled or until the lease ends
-- Returns {1, now, reset, used…}          taken; what each limit now has in use
--         {0, now, reset, limit, wait, used…}  refused; the limit to wait for longest, and ms
--         {2, now, reset}                 this id has ended already
-- An id that is open is answered as at first, and nothing more is taken.

local id, lease = ARGV[3], tonumber(ARGV[2])
local now, reset = clock(KEYS[3], KEYS[2], ARGV[1], lease)
if redis.call('EXISTS', KEYS[4]) == 1 then return {2, now, reset} end

local look, take = {}, {}

function look.w(l)
  l.window = window(l.key, tonumber(l.width), tonumber(l.count), now)
  return l.window.sum
end

function look.p(l)
  l.period, l.ends = period(l.width, now)
  local got = redis.call('HMGET', l.key, 's' .. text(l.period), 'r' .. text(l.period))
  l.fresh = not got[1]
  return tonumber(got[1] or '0') + tonumber(got[2] or '0')
end

function look.c(l)
  redis.call('ZREMRANGEBYSCORE', l.key, '-inf', text(now))
  return redis.call('ZCARD', l.key)
end

local wait = {}

function wait.w(l)                       -- until enough of the oldest buckets have left
  local w, left = l.window, l.used + l.amount - l.limit
  for bucket = w.oldest, w.newest do
    left = left - tonumber(redis.call('HGET', l.key, text(bucket)) or '0')
    if left <= 0 then return (bucket + w.count + 1) * w.width - now end
  end
  return w.count * w.width               -- not reached: an amount never exceeds its limit
end

function wait.p(l) return l.ends - now end

function wait.c(l)                       -- an estimate; leases of a clock given up end in time
  for _, held in ipairs(redis.call('ZRANGEBYSCORE', l.key, text(now + lease + SKEW), '+inf')) do
    redis.call('ZADD', l.key, text(now + lease), held)
  end
  return 1000
end

function take.w(l)
  charge(l.window, l.amount)
  return l.window.current
end

function take.p(l)
  local at = text(l.period)
  if l.fresh then
    redis.call('HDEL', l.key, 's' .. text(l.period - 2), 'r' .. text(l.period - 2))
    redis.call('HSET', l.key, 's' .. at, 0)
  end
  redis.call('HINCRBY', l.key, 'r' .. at, text(l.amount))
  redis.call('PEXPIRE', l.key, text(l.ends - now + DAY))
  return l.period
end

function take.c(l)
  redis.call('ZADD', l.key, text(now + lease), id)
  redis.call('PEXPIRE', l.key, text(lease + IDLE))
  return 0
end

local open = redis.call('HEXISTS', KEYS[1], id) == 1
local limits, longest, refused = {}, -1, 0
for i = 1, #KEYS - 4 do
  local a = 4 + (i - 1) * 7
  local l = {
    key = KEYS[4 + i], kind = ARGV[a + 1], amount = tonumber(ARGV[a + 2]),
    limit = tonumber(ARGV[a + 3]), least = ARGV[a + 4], width = ARGV[a + 5],
    count = ARGV[a + 6], name = ARGV[a + 7],
  }
  l.used = look[l.kind](l)
  limits[i] = l
  if not open and l.used + l.amount > l.limit then
    local ms = wait[l.kind](l)
    if ms > longest then longest, refused = ms, i end
  end
end
local answer, stored = {1, now, reset}, {}
if refused > 0 then
  answer = {0, now, reset, refused, longest}
  for _, l in ipairs(limits) do answer[#answer + 1] = l.used end
  return answer
end
for i, l in ipairs(limits) do
  if not open then
    local at = take[l.kind](l)
    l.used = l.used + l.amount
    stored[i] = table.concat(
      {l.kind, text(l.amount), l.least, text(at), l.width, l.count, l.name}, ',')
  end
  answer[#answer + 1] = l.used
end
if not open then
  redis.call('HSET', KEYS[1], id, ARGV[4] .. '|' .. table.concat(stored, ';'))
  redis.call('ZADD', KEYS[2], text(now + lease), id)
end
return answer
